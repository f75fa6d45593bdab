package lookup

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	defaultTimeout = 5 * time.Second // for all of a poll
	maxHeader      = 64 << 10        // bytes of a header; 1xx answers before it count
)

// newHTTPClient makes the client that is used if the caller has none: no proxy of the environment, HTTP/1.1 alone (what nsqlookupd
// speaks), TLS with the system's roots, and a connection for each poll, since one a minute is not worth keeping one open.
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

// withPoll lets dial find the context that a request was made with.
func withPoll(ctx context.Context) context.Context {
	return context.WithValue(ctx, pollKey{}, ctx)
}

// dial ties a connection to the poll it is made for. http.Transport lets a dial and a TLS handshake go on when the request has
// ended, in case that another can use the connection: that would outlive the consumer.
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
