// Package lookup finds nsqds. [Client] polls one nsqlookupd over HTTP, and registers a channel there;
// [Table] combines the answers of several into the addresses to connect to. The caller decides when to poll and how to
// connect.
//
// Answers are not trusted. They are limited in time and size, their addresses are checked and
// brought into one form, and redirects are not followed. But an nsqlookupd may name any host and
// port, which then receives the first bytes of the protocol. A filter on addresses, and TLS with a
// ServerName, protect against that.
package lookup
