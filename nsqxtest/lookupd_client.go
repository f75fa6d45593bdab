package nsqxtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/override"
)

// Option is [LookupdOption] for one nsqlookupd.
func (l *Lookupd) Option() nsqx.Option { return LookupdOption(l) }

// LookupdOption makes a service ask the nsqlookupds for nsqds, and dial the servers that were made
// with [WithLookupds]. It replaces what [Option] replaces; the service uses its own lookup interval.
// See there for where it may stand.
func LookupdOption(lookupds ...*Lookupd) nsqx.Option {
	lookupds = slices.Clone(lookupds)
	byHost := make(transport)
	all := func() (servers []*Server) {
		for _, l := range lookupds {
			servers = append(servers, l.all()...)
		}
		return servers
	}
	nodes := &override.Nodes{Client: httpTo(all, byHost)}
	for _, l := range lookupds {
		byHost[l.addr] = l
		nodes.Lookupds = append(nodes.Lookupds, l.addr)
	}
	nodes.Edit = dialInMemory(all)
	return nsqx.WithDiscoverer(nodes)
}

// Client returns a client whose requests reach this nsqlookupd, whatever their address, for
// [nsqx.WithLookupdClient]. With [Network] it tests the addresses of [nsqx.WithLookupd], too.
func (l *Lookupd) Client() nsqx.LookupdClient {
	return nsqx.LookupdClient{HTTPClient: &http.Client{Transport: l}}
}

// transport sends each request to the nsqlookupd of its host.
type transport map[string]*Lookupd

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if l := t[r.URL.Host]; l != nil {
		return l.RoundTrip(r)
	}
	return nil, refused(r.URL.Host)
}

// RoundTrip answers a request in memory. It ignores the host.
func (l *Lookupd) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if l.isStopped() {
		return nil, refused(r.URL.Host)
	}
	a := &answer{header: make(http.Header)}
	ended := serve(l, a, r)
	switch {
	case r.Context().Err() != nil:
		return nil, r.Context().Err()
	case ended:
		return nil, &net.OpError{Op: "read", Net: "pipe", Addr: serverAddr(r.URL.Host), Err: io.ErrUnexpectedEOF}
	}
	return a.response(r), nil
}

// serve reports whether h has ended the connection.
func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (ended bool) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			ended = true
		default:
			panic(v)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

// answer is an http.ResponseWriter that keeps the response.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) response(r *http.Request) *http.Response {
	a.WriteHeader(http.StatusOK)
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)),
		StatusCode: a.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        a.header,
		Body:          io.NopCloser(&a.body),
		ContentLength: int64(a.body.Len()),
		Request:       r,
	}
}
