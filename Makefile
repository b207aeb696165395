# l2p. `make help` lists the targets.

SHELL := /bin/bash
GO ?= go
export CGO_ENABLED = 0

# What `make demo` publishes as the detailed course: any folder.
COURSE ?=
# What `make bench` seals, in MiB, and how often.
SIZE ?= 1024
PAIRS ?= 5
# How long each fuzz target, the chaos run and each benchmark take.
FUZZTIME ?= 30s
SECONDS ?= 60
SEED ?= 1
BENCHTIME ?= 1s

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the two programs, bin/l2p and bin/agentd
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/l2p ./cmd/agentd

.PHONY: demo
demo: build ## play the story of Adam and Eve on three boxes; COURSE=dir publishes that folder
	@testdata/demo/story.sh bin $(COURSE)

.PHONY: test
test: ## run all tests; the packages with the race detector where there is a C compiler
	@if command -v "$${CC:-gcc}" >/dev/null; then \
		echo "packages, with the race detector"; CGO_ENABLED=1 $(GO) test -race $$($(GO) list ./... | grep -v /cmd/) || exit 1; \
		echo "programs"; $(GO) test ./cmd/...; \
	else \
		echo "no C compiler, so without the race detector"; $(GO) test ./...; \
	fi

.PHONY: race
race: ## run all tests with the race detector, the programs' too (8 minutes on 2 cores; needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./...

.PHONY: lint
lint: ## check format, vet, staticcheck and that go.mod is tidy
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt these files:"; echo "$$out"; exit 1; fi
	$(GO) vet ./... ./testdata/bench ./testdata/gen ./testdata/vectors
	$(GO) tool staticcheck ./... ./testdata/bench ./testdata/gen ./testdata/vectors
	$(GO) mod tidy -diff

.PHONY: vectors
vectors: ## write the test vectors anew, with a generator that imports none of l2p
	$(GO) run ./testdata/gen testdata

.PHONY: man
man: ## write the man pages anew, docs/man
	mkdir -p docs/man
	$(GO) run ./cmd/l2p man > docs/man/l2p.1
	$(GO) run ./cmd/agentd man > docs/man/agentd.1

.PHONY: bench
bench: ## compare l2p with the age program; SIZE=1024 (MiB), PAIRS=5
	$(GO) run ./testdata/bench -size $(SIZE) -pairs $(PAIRS)

.PHONY: microbench
microbench: ## run the benchmarks of the packages; BENCHTIME=5s for longer
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME=30s
	@# Without a bound on minimizing, one long input can take a minute of that.
	@for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
		for f in $$(grep -ohE 'func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go 2>/dev/null | awk '{print $$2}'); do \
			echo "$$dir $$f"; (cd $$dir && $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s .) || exit 1; \
		done; \
	done

.PHONY: chaos
chaos: ## kill -9 real nodes in a loop and check every acknowledged put; SECONDS=60 SEED=1
	CHAOS_SECONDS=$(SECONDS) CHAOS_SEED=$(SEED) $(GO) test -count 1 -v -timeout 0 -run '^TestChaos' ./cmd/agentd

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
