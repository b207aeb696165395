#!/usr/bin/env bash
# Plays the story of Adam and Eve on three real boxes, command by command.
#
#   story.sh BIN [COURSE]
#
# BIN is the folder with l2p and agentd; COURSE a folder to publish as the
# detailed course. Everything happens in a temporary folder and on loopback. It ends
# with status 0 only if each step did what it announced.
set -euo pipefail

bin=$(cd "${1:?usage: story.sh BIN [COURSE]}" && pwd)
course=${2:-}
work=$(mktemp -d "${TMPDIR:-/tmp}/l2p-demo.XXXXXX")
declare -A pid=()

finish() {
	status=$?
	trap - EXIT INT TERM
	for box in "${!pid[@]}"; do kill "${pid[$box]}" 2>/dev/null || true; done
	wait 2>/dev/null || true
	if [ "$status" -ne 0 ] && [ -n "${L2P_DEMO_KEEP:-}" ]; then
		echo "kept: $work" >&2
	else
		rm -rf "$work"
	fi
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() { printf '\nThe story went wrong: %s\n' "$*" >&2; exit 1; }

# show BOX WORD… prints a command as it would be typed on a box.
show() {
	local box=$1 line='' word
	shift
	for word in "$@"; do
		word=${word/#$work\//}
		case $word in *[[:space:]\|\;]* | '') line+=" '$word'" ;; *) line+=" $word" ;; esac
	done
	printf '%s%s$%s l2p%s\n' "$dim" "$box" "$plain" "$line"
}

# l2p BOX WORD… runs l2p as a person at that box would.
l2p() {
	local box=$1
	shift
	L2P_HOME=$work/$box L2P_PASSPHRASE_FILE=$work/passphrase "$bin/l2p" "$@"
}

# run BOX WORD… shows and runs a command that must succeed.
run() {
	show "$@"
	l2p "$@" || fail "'l2p ${*:2}' on $1 failed with status $?"
}

# refused STATUS BOX WORD… shows and runs a command that must fail with that status.
refused() {
	local want=$1 got=0
	shift
	show "$@"
	l2p "$@" || got=$?
	[ "$got" -eq "$want" ] || fail "'l2p ${*:2}' on $1 ended with status $got, not $want"
	printf '%s(refused, exit status %d)%s\n' "$dim" "$got" "$plain"
}

# start BOX [LISTEN] starts the box's daemon and waits until it listens. The
# first time its port is the kernel's choice.
start() {
	rm -f "$work/$1/node/endpoint"
	printf '%s%s$%s agentd &\n' "$dim" "$1" "$plain"
	L2P_HOME=$work/$1 "$bin/agentd" --listen "${2:-127.0.0.1:0}" --no-mdns >>"$work/$1.log" 2>&1 &
	pid[$1]=$!
	eventually "$1's start" test -s "$work/$1/node/endpoint"
}

# eventually WHAT COMMAND… runs a command until it succeeds, for a minute.
eventually() {
	local what=$1 deadline=$((SECONDS + 60))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || fail "$what did not happen within a minute"
		sleep 0.2
	done
}

same() { diff -r "$1" "$2" >/dev/null || fail "$2 differs from $1"; echo "same, to the last byte: ${2#"$work"/}"; }

# ---------------------------------------------------------------------------

umask 077
mkdir -p "$work"/{a-tech,e-build,c-train}
echo 'correct horse battery staple' >"$work/passphrase"

say "Three companies, three boxes. A-Tech's founds the network."
start a-tech
run a-tech init a-tech

say "E-Build gets a ticket, out of band, and needs nothing else."
show a-tech invite e-build
ticket=$(l2p a-tech invite e-build)
printf '%.40s…\n' "$ticket"
start e-build
show e-build join "${ticket:0:20}…"
l2p e-build join "$ticket"

say "C-Train has only an address. It asks, and A-Tech's operator lets it in."
address=$(sed 's/.*@//' "$work/a-tech/node/endpoint")
fingerprint=$(l2p a-tech status --json | sed -n 's/.*"network": *"\([^"]*\)".*/\1/p')
start c-train
show c-train join "$address" --box c-train --fingerprint "$fingerprint"
l2p c-train join "$address" --box c-train --fingerprint "$fingerprint" &
asking=$!
waiting() { l2p a-tech admit --json | grep -q '"c-train"'; }
eventually "C-Train's request" waiting
run a-tech admit
run a-tech admit c-train
wait "$asking" || fail "C-Train was not let in"
run a-tech status

say "People. Each one's keys are made on the own box and locked by a passphrase."
run a-tech agent create adam --no-recovery
run a-tech agent create anna --no-recovery
run e-build agent create eve --no-recovery
run c-train agent create carol --no-recovery
run a-tech agent use adam

say "Adam makes two groups: A-Tech's apprentices, and all apprentices of the cluster."
run a-tech group create apprentices --no-recovery --member anna@a-tech
run a-tech group create cluster-apprentices --no-recovery --member anna@a-tech --member eve@e-build --member carol@c-train

say "Two courses, as folders: an introductory one, and a detailed one with a film of 120 MB."
mkdir -p "$work"/intro/exercises "$work"/detailed/films
printf '# Introduction to Go\n\nEvery program starts in package main.\n' >"$work/intro/README.md"
printf 'package main\n\nfunc main() { println("hello, cluster") }\n' >"$work/intro/exercises/hello.go"
if [ -n "$course" ]; then
	rm -rf "$work/detailed"
	cp -a "$course" "$work/detailed"
else
	cp -a "$work/intro/." "$work/detailed/"
	printf '# How A-Tech builds its turbines\n\nFor our own apprentices.\n' >"$work/detailed/secret.md"
	head -c 120000000 /dev/urandom >"$work/detailed/films/lesson-1.mp4"
fi
du -sh "$work/intro" "$work/detailed" | sed "s|$work/||"
run a-tech put go-intro "$work/intro" -t cluster-apprentices@a-tech --title 'Introduction to Go'
run a-tech put go-detailed "$work/detailed" -t apprentices@a-tech --title 'Go at A-Tech'
run a-tech ring adam@a-tech/go-intro

say "Eve, at E-Build, sees both and opens the one that is meant for her."
run e-build ls adam@a-tech
run e-build get adam@a-tech/go-intro -o "$work/eve-intro"
same "$work/intro" "$work/eve-intro"

say "The other one stays shut, though her own box keeps a replica of it."
run e-build ring adam@a-tech/go-detailed
refused 5 e-build get adam@a-tech/go-detailed -o "$work/eve-detailed"
[ ! -e "$work/eve-detailed" ] || fail "something of the detailed course was left behind"
[ -n "$(find "$work/e-build/node/segments" -type f -print -quit)" ] || fail "E-Build's box keeps no segment"
if [ -z "$course" ] && grep -rqaF 'How A-Tech builds its turbines' "$work/e-build"; then
	fail "E-Build's box knows the secret"
fi

say "Anna, apprentice at A-Tech, opens the detailed one."
run a-tech --as anna@a-tech get adam@a-tech/go-detailed -o "$work/anna-detailed"
same "$work/detailed" "$work/anna-detailed"

say "A-Tech's box loses power (kill -9)."
printf '%sa-tech$%s kill -9 %d\n' "$dim" "$plain" "${pid[a-tech]}"
listen=$(sed 's/.*@//' "$work/a-tech/node/endpoint")
kill -9 "${pid[a-tech]}"
wait "${pid[a-tech]}" 2>/dev/null || true
unset 'pid[a-tech]'

say "Eve still reads the course from her own box, and still can't open the other."
run e-build get adam@a-tech/go-intro -o "$work/eve-intro-again"
same "$work/intro" "$work/eve-intro-again"
refused 5 e-build get adam@a-tech/go-detailed -o "$work/eve-detailed"

say "Meanwhile Carol, at C-Train, publishes her notes: two of three boxes are enough."
printf 'What I learned in the introduction.\n' >"$work/notes.md"
run c-train put notes "$work/notes.md" -t cluster-apprentices@a-tech

say "A-Tech's box comes back, and catches up."
start a-tech "$listen"
caught_up() { l2p a-tech ring carol@c-train/notes --json 2>/dev/null | grep -q '"complete": *true'; }
eventually "A-Tech's catching up" caught_up
run a-tech ring carol@c-train/notes
run a-tech --as anna@a-tech get carol@c-train/notes -o "$work/anna-notes.md"
same "$work/notes.md" "$work/anna-notes.md"

say "That was the story. The boxes stop, and nothing is left behind."
for box in a-tech e-build c-train; do
	run "$box" stop
	wait "${pid[$box]}" || fail "$box's daemon ended with status $?"
	unset "pid[$box]"
done
