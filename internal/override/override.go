// Package override is how nsqxtest gets into the options of a service. It is internal, so that nobody else can make its
// value.
package override

import "github.com/nsqx/nsqx/conn"

// Nodes replaces the nsqds that a service was configured for.
type Nodes struct {
	// Addrs are connected to, instead of all that other options name or discover.
	Addrs []string

	// Edit changes the configuration of the connections, after the other options were checked. It may be nil.
	Edit func(*conn.Config)
}
