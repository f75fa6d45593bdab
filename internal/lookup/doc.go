// Package lookup finds nsqds: [Client] asks one nsqlookupd over HTTP, and [Table] keeps which addresses are wanted, given the
// answers of several. When to ask, and what to do about a change, is the caller's.
//
// Nothing that a lookupd says is trusted: its answers are bounded in time and size, its addresses are checked and brought into
// one form, and where it sends a request on to is not followed. What it cannot be kept from is naming any host and port, so that
// something else gets to see the first bytes of the protocol: Table's filter is against that, and TLS with a ServerName.
package lookup
