package nsqx

import (
	"context"
	"net/http"
)

// Discoverer finds the nsqds that have messages of a topic: see [WithDiscoverer]. [WithLookupd]
// asks nsqlookupds without one.
type Discoverer interface {
	// Discover returns the addresses of all nsqds that have the topic, as "host:port" or
	// "unix:///path". A publisher asks for topic "", which means all nsqds. No address is a valid
	// answer: the topic does not exist yet. Addresses returned with an error are used, but the poll
	// counts as failed. An address that only such polls do not name is forgotten after 30 of them
	// instead of three, or when its room is needed: see [WithMaxNSQDs].
	//
	// Discover must return when ctx ends, at the latest after 10 s. If it does not, the poll fails,
	// and it is called again when it has returned. It is called concurrently with other sources, but
	// once at a time for each service.
	Discover(ctx context.Context, topic string) ([]string, error)
}

// DiscovererFunc makes a [Discoverer] of a function.
type DiscovererFunc func(ctx context.Context, topic string) ([]string, error)

// Discover calls f.
func (f DiscovererFunc) Discover(ctx context.Context, topic string) ([]string, error) {
	return f(ctx, topic)
}

// LookupdClient configures how nsqlookupds are polled. The zero value is ready to use.
type LookupdClient struct {
	// HTTPClient sends the requests. Redirects are not followed. Its Timeout limits a poll.
	// Defaults to a client without proxy and with a timeout of 5 s.
	HTTPClient *http.Client

	// Authorization returns the value of the Authorization header for each request; "" sends none.
	// The header is sent to nsqlookupds only, in clear text unless their addresses begin with
	// https://. Authorization must return when ctx ends. Defaults to nil: no header.
	Authorization func(ctx context.Context) (string, error)
}
