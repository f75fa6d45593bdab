package nsqxtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// Lookupd is an nsqlookupd in memory: a correct nsqlookupd v1.3.0 with the registrations of the
// servers that were made with [WithLookupds]. As nsqd does, such a server registers itself, its
// topics and its channels, and asks for the channels of a new topic, which it creates before the
// first message of the topic. An nsqlookupd that is stopped or hangs is not asked, and costs a
// server no time.
//
// Lookupd answers GET /ping, /lookup, /topics, /channels and /nodes, and POST /topic/create,
// /topic/delete, /channel/create and /channel/delete. Services reach it without a socket, through
// [Lookupd.Option] or [Lookupd.Client]. It is an [http.Handler], too.
//
// A test can inject faults: [Lookupd.Stop] stops it, [Lookupd.Hang] lets requests wait, and
// [Lookupd.On] replaces answers.
//
// All methods may be called concurrently. In a synctest bubble, create and use it inside the bubble.
type Lookupd struct {
	addr string

	mu        sync.Mutex // locked while a server's mutex is held, never the other way round
	change    chan struct{}
	stopped   bool
	closed    bool
	hangs     bool
	hooks     map[string]http.Handler
	requests  []LookupdRequest
	servers   []*Server
	topics    map[string]map[string]bool // channels, by topic
	producers map[*Server]map[string]bool
	returning *time.Timer // registers the servers after Start
}

// LookupdRequest is a request that a [Lookupd] has received.
type LookupdRequest struct {
	Time   time.Time
	Method string
	URL    string // path and query
}

// String returns the method and the URL.
func (r LookupdRequest) String() string { return r.Method + " " + r.URL }

// NewLookupd starts an nsqlookupd with the address nsqlookupd-1.test:4161. Create it before its
// servers.
func NewLookupd(tb testing.TB) *Lookupd { return NewLookupds(tb, 1)[0] }

// NewLookupds starts n nsqlookupds that differ only in their addresses: nsqlookupd-1.test:4161,
// nsqlookupd-2.test:4161 and so on.
func NewLookupds(tb testing.TB, n int) []*Lookupd {
	all := make([]*Lookupd, n)
	for i := range all {
		l := &Lookupd{
			addr:   fmt.Sprintf("nsqlookupd-%d.test:4161", i+1),
			change: make(chan struct{}),
			hooks:  make(map[string]http.Handler),
		}
		l.forget()
		tb.Cleanup(l.close)
		all[i] = l
	}
	return all
}

// Addr returns the address, as host:port.
func (l *Lookupd) Addr() string { return l.addr }

// Stop stops the nsqlookupd: it refuses requests, and forgets everything.
func (l *Lookupd) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.forget()
	l.changed()
}

// registerAfter is how often an nsqd pings its nsqlookupds, which tells it that one is back.
const registerAfter = 15 * time.Second

// Start undoes Stop. Servers register again after 15 s, or when they get a new topic or channel.
func (l *Lookupd) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped || l.closed {
		return
	}
	l.stopped = false
	l.returning = time.AfterFunc(registerAfter, func() {
		for _, s := range l.all() {
			s.mu.Lock()
			s.registerAll()
			s.unlock()
		}
	})
}

// Hang sets whether requests wait without an answer, as of a suspended process. They are answered
// after Hang(false).
func (l *Lookupd) Hang(hang bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hangs = hang
	l.changed()
}

// On sets the handler of a path, such as "/lookup", which then answers instead of the nsqlookupd. A
// nil handler removes it. The handler for "" gets every request whose path has none.
func (l *Lookupd) On(path string, h http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hooks[path] = h; h == nil {
		delete(l.hooks, path)
	}
}

// Requests returns the requests so far.
func (l *Lookupd) Requests() []LookupdRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests)
}

// Channels returns the registered channels of a topic, in order.
func (l *Lookupd) Channels(topic string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.topics[topic]))
}

// all returns the servers.
func (l *Lookupd) all() []*Server {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	return slices.Clone(l.servers)
}

// close ends requests that wait.
func (l *Lookupd) close() {
	l.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.returning != nil {
		l.returning.Stop()
	}
}

// forget empties the nsqlookupd. The caller holds mu, except in a constructor.
func (l *Lookupd) forget() {
	l.topics = make(map[string]map[string]bool)
	l.producers = make(map[*Server]map[string]bool)
}

// changed wakes the requests that wait. The caller holds mu.
func (l *Lookupd) changed() {
	close(l.change)
	l.change = make(chan struct{})
}

// create registers a topic, and channels of it. The caller holds mu.
func (l *Lookupd) create(topic string, channels ...string) {
	if l.topics[topic] == nil {
		l.topics[topic] = make(map[string]bool)
	}
	for _, channel := range channels {
		l.topics[topic][channel] = true
	}
}
