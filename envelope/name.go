package envelope

// A Binding gives a name of a box's namespace to an agent. The box signs it.
// The format is docs/keys.md.
type Binding struct {
	Format  uint    `cbor:"1,keyasint"` // 1
	Box     AgentID `cbor:"2,keyasint"` // whose namespace it is
	Name    string  `cbor:"3,keyasint"` // the local part: adam of adam@a-tech
	Version uint64  `cbor:"4,keyasint"` // 1 for the first
	Parent  Hash    `cbor:"5,keyasint,omitzero"`
	Time    int64   `cbor:"6,keyasint"`          // Unix milliseconds, by the box's clock; never used to order
	Agent   AgentID `cbor:"7,keyasint,omitzero"` // whom the name means; zero: nobody any more

	signed *Signed
}
