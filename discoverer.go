package nsqx

import (
	"context"
	"net/http"
)

// Discoverer finds the nsqds that have messages of a topic. [WithLookupd] asks nsqlookupd;
// [WithDiscoverer] takes any other source.
type Discoverer interface {
	// Discover returns the addresses of all nsqds that have the topic, as "host:port" or
	// "unix:///path". A publisher asks for topic "", which means all nsqds. None is a valid answer:
	// the topic does not exist yet. Addresses returned with an error are used, but the poll counts
	// as failed: no address is forgotten because of it.
	//
	// It must return when ctx ends, which is after 10 s at the latest.
	Discover(ctx context.Context, topic string) ([]string, error)
}

// DiscovererFunc is a function as a [Discoverer].
type DiscovererFunc func(ctx context.Context, topic string) ([]string, error)

// Discover calls f.
func (f DiscovererFunc) Discover(ctx context.Context, topic string) ([]string, error) {
	return f(ctx, topic)
}

// LookupdClient is how nsqlookupds are asked. The zero value is ready to use.
type LookupdClient struct {
	// HTTPClient sends the requests. Redirects are not followed. Its Timeout bounds a poll. Defaults
	// to a client without proxy and with a timeout of 5 s.
	HTTPClient *http.Client

	// Authorization returns the value of that header for each request; "" sends none. The header
	// goes to the nsqlookupds only, in clear text unless their addresses begin with https://. It
	// must return when ctx ends. Defaults to nil: no header.
	Authorization func(ctx context.Context) (string, error)
}
