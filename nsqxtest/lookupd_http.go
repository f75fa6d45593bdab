package nsqxtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

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
	nodes := &override.Nodes{Client: &http.Client{Transport: byHost}}
	for _, l := range lookupds {
		byHost[l.addr] = l
		nodes.Lookupds = append(nodes.Lookupds, l.addr)
	}
	nodes.Edit = dialInMemory(func() (servers []*Server) {
		for _, l := range lookupds {
			servers = append(servers, l.all()...)
		}
		return servers
	})
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

func (l *Lookupd) isStopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// ServeHTTP answers a request. A stopped nsqlookupd ends the connection.
func (l *Lookupd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.requests = append(l.requests, LookupdRequest{Time: time.Now(), Method: r.Method, URL: r.URL.RequestURI()})
	for l.hangs && !l.stopped && r.Context().Err() == nil {
		change := l.change
		l.mu.Unlock()
		select {
		case <-change:
		case <-r.Context().Done():
		}
		l.mu.Lock()
	}
	stopped, hook := l.stopped, l.hooks[r.URL.Path]
	if hook == nil {
		hook = l.hooks[""]
	}
	l.mu.Unlock()
	switch {
	case stopped:
		panic(http.ErrAbortHandler)
	case r.Context().Err() != nil:
	case hook != nil:
		hook.ServeHTTP(w, r)
	default:
		status, body := l.answer(r.Method, r.URL.Path, r.URL.Query())
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		if body != nil {
			_ = json.NewEncoder(w).Encode(body) // an error means that the client is gone
		}
	}
}

// routes are the methods of nsqlookupd's paths.
var routes = map[string]string{
	"/ping": http.MethodGet, "/lookup": http.MethodGet, "/topics": http.MethodGet, "/channels": http.MethodGet, "/nodes": http.MethodGet,
	"/topic/create": http.MethodPost, "/topic/delete": http.MethodPost, "/channel/create": http.MethodPost, "/channel/delete": http.MethodPost,
}

// answer does what nsqlookupd does with a request.
func (l *Lookupd) answer(method, path string, query url.Values) (status int, body any) {
	problem := func(status int, text string) (int, any) { return status, map[string]string{"message": text} }
	wanted, known := routes[path]
	switch {
	case !known:
		return problem(http.StatusNotFound, "NOT_FOUND")
	case method != wanted:
		return problem(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	}
	topic, channel := query.Get("topic"), query.Get("channel")
	switch path {
	case "/lookup", "/channels", "/topic/create", "/topic/delete", "/channel/create", "/channel/delete":
		switch {
		case topic == "":
			return problem(http.StatusBadRequest, "MISSING_ARG_TOPIC")
		case !validName(topic):
			return problem(http.StatusBadRequest, "INVALID_ARG_TOPIC")
		}
	}
	switch path {
	case "/channel/create", "/channel/delete":
		switch {
		case channel == "":
			return problem(http.StatusBadRequest, "MISSING_ARG_CHANNEL")
		case !validName(channel):
			return problem(http.StatusBadRequest, "INVALID_ARG_CHANNEL")
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	channels, exists := l.topics[topic]
	switch path {
	case "/lookup":
		if !exists {
			return problem(http.StatusNotFound, "TOPIC_NOT_FOUND")
		}
		return http.StatusOK, map[string]any{"channels": names(channels), "producers": l.nodes(topic)}
	case "/topics":
		return http.StatusOK, map[string]any{"topics": names(l.topics)}
	case "/channels":
		return http.StatusOK, map[string]any{"channels": names(channels)}
	case "/nodes":
		return http.StatusOK, map[string]any{"producers": l.nodes("")}
	case "/topic/create":
		l.create(topic)
	case "/topic/delete":
		delete(l.topics, topic)
		for _, topics := range l.producers {
			delete(topics, topic)
		}
	case "/channel/create":
		l.create(topic, channel)
	case "/channel/delete":
		if !channels[channel] {
			return problem(http.StatusNotFound, "CHANNEL_NOT_FOUND")
		}
		delete(channels, channel)
	}
	return http.StatusOK, nil
}

// nodes returns the servers that have a topic, or all if it is empty. The caller holds mu.
func (l *Lookupd) nodes(topic string) []map[string]any {
	nodes := []map[string]any{}
	for _, s := range l.servers {
		topics := l.producers[s]
		if topics == nil || topic != "" && !topics[topic] {
			continue
		}
		host, port, _ := net.SplitHostPort(s.Addr()) // an address without a port has port 0, which clients drop
		number, _ := strconv.Atoi(port)
		node := map[string]any{
			"remote_address": s.Addr(), "hostname": host, "broadcast_address": host,
			"tcp_port": number, "http_port": number + 1, "version": "1.3.0",
		}
		if topic == "" {
			node["topics"] = names(topics)
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// names returns the keys of m in order, never nil.
func names[V any](m map[string]V) []string {
	return append([]string{}, slices.Sorted(maps.Keys(m))...)
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
