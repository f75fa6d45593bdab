package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nsqx/nsqx"
)

// lookupds are nsqlookupds by host, as a transport.
type lookupds map[string]*fakeLookupd

// newLookupds returns n nsqlookupds, and the options to use them.
func newLookupds(n int) ([]*fakeLookupd, nsqx.Option) {
	all, byHost := make([]*fakeLookupd, n), make(lookupds, n)
	var addrs []string
	for i := range all {
		host := fmt.Sprintf("lookupd-%d:4161", i+1)
		all[i] = &fakeLookupd{registered: make(map[string]bool)}
		byHost[host], addrs = all[i], append(addrs, host)
	}
	return all, nsqx.WithOptions(nsqx.WithLookupd(addrs...), nsqx.WithLookupdClient(nsqx.LookupdClient{HTTPClient: &http.Client{Transport: byHost}}))
}

func (l lookupds) RoundTrip(r *http.Request) (*http.Response, error) {
	return l[r.URL.Host].RoundTrip(r)
}

// fakeLookupd answers for topic orders as nsqlookupd does.
type fakeLookupd struct {
	mu         sync.Mutex
	nsqds      []string
	registered map[string]bool                           // "orders" and "orders/billing", for example
	misbehave  func(*http.Request) (status int, ok bool) // called first, without the lock
	creates    []string                                  // POSTs
	polls      []time.Time
}

func (l *fakeLookupd) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	misbehave := l.misbehave
	if r.Method == http.MethodPost {
		l.creates = append(l.creates, r.URL.Path+"?"+r.URL.RawQuery)
	} else {
		l.polls = append(l.polls, time.Now())
	}
	l.mu.Unlock()
	if misbehave != nil {
		if status, ok := misbehave(r); ok {
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			return response(r, status, ""), nil
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	topic, channel := r.URL.Query().Get("topic"), r.URL.Query().Get("channel")
	switch r.URL.Path {
	case "/topic/create":
		l.registered[topic] = true
		return response(r, http.StatusOK, ""), nil
	case "/channel/create":
		l.registered[topic], l.registered[topic+"/"+channel] = true, true
		return response(r, http.StatusOK, ""), nil
	case "/nodes":
	default:
		if !l.registered[topic] {
			return response(r, http.StatusNotFound, `{"message":"TOPIC_NOT_FOUND"}`), nil
		}
	}
	var channels, producers []string
	for name := range l.registered {
		if _, channel, ok := strings.Cut(name, "/"); ok {
			channels = append(channels, fmt.Sprintf("%q", channel))
		}
	}
	for _, addr := range l.nsqds {
		host, port, _ := net.SplitHostPort(addr)
		producers = append(producers, fmt.Sprintf(`{"broadcast_address":%q,"tcp_port":%s}`, host, port))
	}
	return response(r, http.StatusOK, `{"channels":[`+strings.Join(channels, ",")+`],"producers":[`+strings.Join(producers, ",")+`]}`), nil
}

func response(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

// set sets the nsqds, which makes the topic known.
func (l *fakeLookupd) set(nsqds ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nsqds = nsqds
	l.registered["orders"] = l.registered["orders"] || len(nsqds) > 0
}

// forget makes the nsqlookupd know nothing, as after a restart, or the deletion of the topic.
func (l *fakeLookupd) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nsqds = nil
	clear(l.registered)
}

// knows reports whether a channel of the topic is registered.
func (l *fakeLookupd) knows(channel string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.registered["orders"] && l.registered["orders/"+channel]
}

func (l *fakeLookupd) misbehaves(f func(*http.Request) (status int, ok bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.misbehave = f
}

func (l *fakeLookupd) created() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.creates)
}

func (l *fakeLookupd) pollTimes() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.polls)
}

// answersPOST answers registrations with a status.
func answersPOST(status int) func(*http.Request) (int, bool) {
	return func(r *http.Request) (int, bool) { return status, r.Method == http.MethodPost }
}

// unanswered answers nothing: neither polls, unless only registrations are to hang, nor registrations.
func unanswered(onlyPOST bool) func(*http.Request) (int, bool) {
	return func(r *http.Request) (int, bool) {
		if onlyPOST && r.Method != http.MethodPost {
			return 0, false
		}
		<-r.Context().Done()
		return 0, true
	}
}
