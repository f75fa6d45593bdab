package nsqx

import (
	"slices"

	"github.com/nsqx/nsqx/internal/override"
)

// WithOverride replaces the nsqds that all other options lead to, wherever it stands among them; those are checked all the
// same. It is for package nsqxtest alone, whose Option is made of it: nobody else can make its argument.
func WithOverride(nodes override.Nodes) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("nsqxtest.Option")
		c.override = &nodes
	})
}

// applyOverride puts the nodes of a test in place, once those of production have been checked.
func (c *sharedConfig) applyOverride() {
	if c.override == nil {
		return
	}
	c.nsqds = slices.Clone(c.override.Addrs)
	c.lookupds, c.lookupClients, c.discoverers, c.nsqdFilter = nil, nil, nil, nil
	if len(c.nsqds) == 0 {
		c.fault("nsqxtest.Option", "got no server")
	}
	for i, addr := range c.nsqds {
		if slices.Contains(c.nsqds[:i], addr) {
			c.fault("nsqxtest.Option", "got two servers with the address "+addr+"; make them with NewServers, or WithAddr")
		}
	}
	if c.override.Edit != nil {
		c.override.Edit(&c.conn)
	}
}
