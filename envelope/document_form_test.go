package envelope

import (
	"bytes"
	"slices"
	"testing"
)

// signedAs signs a body as it is, without checking its form.
func signedAs(d *Document, attachments [][]byte, signers ...Signer) *Signed {
	s := &Signed{Body: mustEncode(d), Attachments: attachments}
	for _, signer := range signers {
		s.Signatures = append(s.Signatures, Sign(signer, DomainDocument, s.Body))
	}
	return s
}

// TestDocumentForm breaks one thing in each document.
func TestDocumentForm(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	many := func(n int) []Member {
		var members []Member
		for i := range n {
			members = append(members, Member{ID: AgentID{1, byte(i >> 8), byte(i)}, Version: 1, Box: uint(i / MaxBoxMembers)})
		}
		return members
	}
	tests := map[string]struct {
		of     *player
		change func(d *Document)
		ok     bool
	}{
		"user":                  {s.adam, func(*Document) {}, true},
		"service":               {s.learn, func(*Document) {}, true},
		"box":                   {s.box, func(*Document) {}, true},
		"group":                 {s.trainers, func(*Document) {}, true},
		"name":                  {s.adam, func(d *Document) { d.Name = "adam@a-tech" }, true},
		"name without box":      {s.adam, func(d *Document) { d.Name = "adam" }, false},
		"name of box":           {s.box, func(d *Document) { d.Name = "a-tech" }, true},
		"name of box with at":   {s.box, func(d *Document) { d.Name = "a@a-tech" }, false},
		"format 0":              {s.adam, func(d *Document) { d.Format = 0 }, false},
		"format 2":              {s.adam, func(d *Document) { d.Format = 2 }, false},
		"kind 0":                {s.adam, func(d *Document) { d.Kind = 0 }, false},
		"kind 5":                {s.adam, func(d *Document) { d.Kind = 5 }, false},
		"version 0":             {s.adam, func(d *Document) { d.Version = 0 }, false},
		"first with agent":      {s.adam, func(d *Document) { d.Agent = AgentID{1} }, false},
		"first with parent":     {s.adam, func(d *Document) { d.Parent = Hash{1} }, false},
		"second without agent":  {s.adam, func(d *Document) { d.Version, d.Parent = 2, Hash{1} }, false},
		"second without parent": {s.adam, func(d *Document) { d.Version, d.Agent = 2, AgentID{1} }, false},
		"second":                {s.adam, func(d *Document) { d.Version, d.Agent, d.Parent = 2, AgentID{1}, Hash{1} }, true},
		"no keys":               {s.adam, func(d *Document) { d.Keys = nil }, false},
		"empty keys":            {s.adam, func(d *Document) { d.Keys = []SigningKey{} }, false},
		"short key":             {s.adam, func(d *Document) { d.Keys[0].Key = d.Keys[0].Key[:31] }, false},
		"other key only":        {s.adam, func(d *Document) { d.Keys[0].Algorithm = 2 }, false},
		"other key beside":      {s.adam, func(d *Document) { d.Keys = append(d.Keys, SigningKey{2, make([]byte, 1952)}) }, true},
		"key twice":             {s.adam, func(d *Document) { d.Keys = append(d.Keys, d.Keys[0]) }, false},
		"keys descending":       {s.adam, func(d *Document) { d.Keys = append(d.Keys, SigningKey{3, []byte{1}}, SigningKey{2, []byte{1}}) }, false},
		"huge other key":        {s.adam, func(d *Document) { d.Keys = append(d.Keys, SigningKey{2, make([]byte, 5<<10)}) }, false},
		"no recipient":          {s.adam, func(d *Document) { d.Recipient = "" }, false},
		"bad recipient":         {s.adam, func(d *Document) { d.Recipient = d.Recipient[:len(d.Recipient)-1] + "!" }, false},
		"upper-case recipient":  {s.carl, func(d *Document) { d.Recipient = string(bytes.ToUpper([]byte(d.Recipient))) }, false},
		"long recipient":        {s.adam, func(d *Document) { d.Recipient = string(make([]byte, 1<<20)) }, false},
		"recipient of box":      {s.box, func(d *Document) { d.Recipient = s.carl.doc.Recipient }, false},
		"locked":                {s.learn, func(d *Document) { d.Locked = Hash{1} }, true},
		"locked box":            {s.box, func(d *Document) { d.Locked = Hash{1} }, false},
		"locked group":          {s.trainers, func(d *Document) { d.Locked = Hash{1} }, false},
		"group without part":    {s.trainers, func(d *Document) { d.Group = nil }, false},
		"user with group part":  {s.adam, func(d *Document) { d.Group = s.trainers.doc.Group }, false},
		"first of epoch 2":      {s.trainers, func(d *Document) { d.Group.Epoch, d.Group.Previous = 2, Hash{1} }, false},
		"epoch 0":               {s.trainers, func(d *Document) { d.Group.Epoch = 0 }, false},
		"epoch 1 with previous": {s.trainers, func(d *Document) { d.Group.Previous = Hash{1} }, false},
		"no admins":             {s.trainers, func(d *Document) { d.Group.Admins = []AgentID{} }, false},
		"zero admin":            {s.trainers, func(d *Document) { d.Group.Admins = []AgentID{{}} }, false},
		"admin twice":           {s.trainers, func(d *Document) { d.Group.Admins = []AgentID{{1}, {1}} }, false},
		"admins descending":     {s.trainers, func(d *Document) { d.Group.Admins = []AgentID{{2}, {1}} }, false},
		"65 admins":             {s.trainers, func(d *Document) { d.Group.Admins = manyIDs(65) }, false},
		"64 admins":             {s.trainers, func(d *Document) { d.Group.Admins = manyIDs(64) }, true},
		"nobody":                {s.trainers, func(d *Document) { d.Group.Members, d.Group.Boxes = []Member{}, []Hash{} }, true},
		"members descending": {s.trainers, func(d *Document) {
			d.Group.Members = []Member{{ID: AgentID{2}, Version: 1}, {ID: AgentID{1}, Version: 1}}
		}, false},
		"member twice":          {s.trainers, func(d *Document) { d.Group.Members = append(d.Group.Members, d.Group.Members[0]) }, false},
		"member of version 0":   {s.trainers, func(d *Document) { d.Group.Members[0].Version = 0 }, false},
		"member with epoch":     {s.trainers, func(d *Document) { d.Group.Members[0].Epoch = 1 }, true},
		"member of later epoch": {s.trainers, func(d *Document) { d.Group.Members[0].Epoch = 2 }, false},
		"member from epoch 2":   {s.trainers, func(d *Document) { inEpoch2(d); d.Group.Members[0].From = 2 }, true},
		"member from epoch 1":   {s.trainers, func(d *Document) { inEpoch2(d); d.Group.Members[0].From = 1 }, false},
		"member from later":     {s.trainers, func(d *Document) { inEpoch2(d); d.Group.Members[0].From = 3 }, false},
		"admin from epoch 2": {s.trainers, func(d *Document) {
			inEpoch2(d)
			d.Group.Members[0].From = 2
			d.Group.Admins = []AgentID{d.Group.Members[0].ID}
		}, false},
		"box for all and for some": {s.trainers, func(d *Document) {
			inEpoch2(d)
			d.Group.Members, d.Group.Boxes = many(2), make([]Hash, 1)
			d.Group.Members[1].From = 2
		}, false},
		"resolves":                {s.trainers, func(d *Document) { d.Group.Resolves = []Hash{{1}, {2}} }, true},
		"resolves nothing":        {s.trainers, func(d *Document) { d.Group.Resolves = []Hash{{}} }, false},
		"resolves descending":     {s.trainers, func(d *Document) { d.Group.Resolves = []Hash{{2}, {1}} }, false},
		"resolves 17":             {s.trainers, func(d *Document) { d.Group.Resolves = manyHashes(17) }, false},
		"member without box":      {s.trainers, func(d *Document) { d.Group.Members[0].Box = 1 }, false},
		"member of itself":        {s.trainers, func(d *Document) { d.Version, d.Agent, d.Parent = 2, d.Group.Members[0].ID, Hash{1} }, false},
		"box for nobody":          {s.trainers, func(d *Document) { d.Group.Boxes = append(d.Group.Boxes, Hash{1}) }, false},
		"box for 501":             {s.trainers, func(d *Document) { d.Group.Members = many(501); d.Group.Members[500].Box = 0 }, false},
		"10,000 members":          {s.trainers, func(d *Document) { d.Group.Members, d.Group.Boxes = many(10_000), make([]Hash, 20) }, true},
		"10,001 members":          {s.trainers, func(d *Document) { d.Group.Members, d.Group.Boxes = many(10_001), make([]Hash, 21) }, false},
		"more boxes than are let": {s.trainers, func(d *Document) { d.Group.Boxes = make([]Hash, 64) }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := *test.of.doc
			d.Keys = []SigningKey{{d.Keys[0].Algorithm, d.Keys[0].Key}}
			if d.Group != nil {
				g := *d.Group
				g.Members, g.Boxes = slices.Clone(g.Members), slices.Clone(g.Boxes)
				d.Group = &g
			}
			test.change(&d)
			got, err := ParseDocument(signedAs(&d, nil, s.adam).Encode())
			switch {
			case test.ok && err != nil:
				t.Error(err)
			case !test.ok && (err == nil || KindOf(err) != Corrupt || got != nil):
				t.Errorf("document %v, error %v; want none and kind Corrupt", got, err)
			}
		})
	}
}

// inEpoch2 makes a group's document one of a second epoch, by its form.
func inEpoch2(d *Document) {
	d.Version, d.Agent, d.Parent = 2, AgentID{9}, Hash{1}
	d.Group.Epoch, d.Group.Previous = 2, Hash{1}
	d.Group.Admins = []AgentID{{7}}
}

func manyHashes(n int) []Hash {
	var hashes []Hash
	for i := range n {
		hashes = append(hashes, Hash{byte(i + 1)})
	}
	return hashes
}

func manyIDs(n int) []AgentID {
	var ids []AgentID
	for i := range n {
		ids = append(ids, AgentID{byte(i + 1)})
	}
	return ids
}

func TestDocumentAttachments(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	box, previous, other := []byte("box"), []byte("previous"), []byte("other")
	d := *s.trainers.doc
	g := *d.Group
	g.Epoch, g.Boxes, g.Previous = 2, []Hash{AttachmentHash(box)}, AttachmentHash(previous)
	d.Version, d.Agent, d.Parent, d.Group = 2, s.trainers.Agent(), s.trainers.doc.Hash(), &g
	tests := map[string]struct {
		attachments [][]byte
		ok          bool
	}{
		"all":      {[][]byte{box, previous}, true},
		"none":     {nil, true},
		"empty":    {[][]byte{}, false},
		"order":    {[][]byte{previous, box}, false},
		"one":      {[][]byte{box}, false},
		"altered":  {[][]byte{box, other}, false},
		"too many": {[][]byte{box, previous, other}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseDocument(signedAs(&d, test.attachments, s.adam))
			if !test.ok {
				if KindOf(err) != Corrupt {
					t.Errorf("error %v, want kind Corrupt", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if has := got.Attachment(g.Previous); bytes.Equal(has, previous) != (test.attachments != nil) {
				t.Errorf("attachment is %q", has)
			}
			bare := got.Bare()
			if bare.Hash() != got.Hash() || bare.ID() != got.ID() || bare.Attachment(g.Boxes[0]) != nil {
				t.Error("the bare document is another, or not bare")
			}
			if got.Attachment(AttachmentHash(other)) != nil {
				t.Error("an attachment that the document doesn't name")
			}
		})
	}
}

func TestOtherSignaturesAreBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for size, ok := range map[int]bool{4_627: true, 9 << 10: false} {
		signed := *s.adam.doc.Signed()
		signed.Signatures = append(slices.Clone(signed.Signatures), Signature{Algorithm: 7, Bytes: make([]byte, size)})
		d, err := ParseDocument(signed.Encode())
		if (err == nil) != ok {
			t.Errorf("another signature of %d bytes: %v", size, err)
		}
		if err == nil {
			if err := VerifyChain(t.Context(), []*Document{d}, nil); err != nil {
				t.Errorf("beside a signature of another algorithm: %v", err)
			}
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	s := newStage(f)
	lost, key := withPaper(f, s.adam, newborn{s.adam.key})
	found := newPlayer(f, "fresh", User, true)
	found = recovered(f, recovery(lost, found), key, found)
	for _, p := range []*player{s.adam, s.carl, s.box, s.trainers, s.adam.rotate(f), lost, found} {
		f.Add(p.doc.Signed().Encode())
	}
	docs := s.docs()
	docs[lost.Agent()] = []*Document{lost.doc, found.doc}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDocument(data)
		if err != nil {
			if KindOf(err) != Corrupt {
				t.Errorf("error %v is not of kind Corrupt", err)
			}
			return
		}
		if !bytes.Equal(d.Signed().Encode(), data) {
			t.Error("a document has two encodings")
		}
		for _, h := range d.attachmentNames() {
			d.Attachment(h)
		}
		d.Bare()
		VerifyDocument(t.Context(), d, docs[d.ID()], docs)
	})
}
