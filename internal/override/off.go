package override

import "context"

// Off is a Discoverer whose presence among the options of a service turns off defaults: it is what
// package settings makes of a key that is false.
type Off struct {
	Names []string // of options, such as "WithEnvelope", and fields, such as "conn.Config.TLS"
}

// Discover returns nothing.
func (*Off) Discover(context.Context, string) ([]string, error) { return nil, nil }
