// Package override is how nsqxtest replaces the nsqds of a service, and how settings turns off
// defaults. Nobody else can make its values.
package override

import (
	"context"
	"net/http"

	"github.com/nsqx/nsqx/conn"
)

// Nodes is a Discoverer whose presence among the options of a service replaces all other sources of
// nsqds, or, with Keep, only the way to them.
type Nodes struct {
	// Addrs are connected to, instead of all that other options name or find.
	Addrs []string

	// Lookupds are asked instead of all that other options name.
	Lookupds []string

	// Client makes the requests to Lookupds, and to the HTTP interfaces of nsqds.
	Client *http.Client

	// Keep keeps the sources of the other options; Addrs and Lookupds are not used.
	Keep bool

	// Edit changes the configuration of the connections, after the other options were checked. It
	// may be nil.
	Edit func(*conn.Config)
}

// Discover returns Addrs.
func (n *Nodes) Discover(context.Context, string) ([]string, error) { return n.Addrs, nil }
