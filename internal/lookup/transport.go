package lookup

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	defaultTimeout = 5 * time.Second // of a whole poll
	maxHeader      = 64 << 10        // bytes of a header, including earlier 1xx answers
)

// newHTTPClient returns the default client: no proxy, only HTTP/1.1, which nsqlookupd speaks, TLS
// with the system's roots, and a new connection for each poll, since polls are about a minute
// apart.
func newHTTPClient() *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Client{Transport: &http.Transport{
		DialContext:            dial,
		DisableKeepAlives:      true,
		Protocols:              &protocols,
		TLSHandshakeTimeout:    defaultTimeout,
		ResponseHeaderTimeout:  defaultTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}}
}

type pollKey struct{}

// withPoll lets dial find the context of the request.
func withPoll(ctx context.Context) context.Context {
	return context.WithValue(ctx, pollKey{}, ctx)
}

// dial closes the connection when its poll ends. http.Transport would continue a dial or TLS
// handshake after the request, for a later request to use, and so outlive the consumer.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if poll, ok := ctx.Value(pollKey{}).(context.Context); ok {
		ctx = poll
	}
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { nc.Close() })
	return nc, nil
}
