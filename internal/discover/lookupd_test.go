package discover

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/observe"
)

// transport is an http.RoundTripper made of a function.
type transport func(*http.Request) (status int, body string)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// client returns a client of an nsqlookupd that answers so.
func client(t *testing.T, f transport) *lookup.Client {
	t.Helper()
	c, err := lookup.NewClient("lookup:4161", lookup.Config{HTTPClient: &http.Client{Transport: f, Timeout: time.Second}, MaxAddrs: 2})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func producers(hosts ...string) string {
	var all []string
	for _, host := range hosts {
		all = append(all, fmt.Sprintf(`{"broadcast_address":%q,"tcp_port":1}`, host))
	}
	return `{"producers":[` + strings.Join(all, ",") + `]}`
}

// TestLookupd: what becomes of the answers of a nsqlookupd.
func TestLookupd(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		calls  []string
		found  int
		good   bool
		err    error  // nil: see text
		text   string // of the error
	}{
		"found":   {200, producers("a", "b"), []string{"connect a:1", "connect b:1"}, 2, true, nil, "<nil>"},
		"none":    {200, producers(), nil, 0, true, nil, "<nil>"},
		"unknown": {404, `{"message":"TOPIC_NOT_FOUND"}`, nil, 0, true, observe.ErrNoTopic, "nsqx: topic not found"},
		"surplus": {200, producers("a", "b", "c", "d"), []string{"connect a:1", "connect b:1"}, 2, true, nil,
			"nsqx: nsqlookupd lookup:4161 named 2 addresses that cannot be used"},
		"invalid": {200, producers("a", "", "b"), []string{"connect a:1", "connect b:1"}, 2, true, nil,
			"nsqx: nsqlookupd lookup:4161 named 1 addresses that cannot be used"},
		"fails": {500, "oops", nil, 0, false, nil, ""},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			f := newFixture(t, Config{Lookupds: []*lookup.Client{client(t, func(r *http.Request) (int, string) {
				check.Want(t, "URL", r.URL.String(), "http://lookup:4161/lookup?topic=orders")
				return tt.status, tt.body
			})}})
			f.run()
			f.wantCalls(tt.calls...)
			ev := f.events.All()[0]
			if tt.err != nil {
				f.wantPoll(tt.found, tt.good, tt.err)
			}
			check.Want(t, "source", ev.Source, "lookup:4161")
			check.Want(t, "found", ev.Found, tt.found)
			check.Want(t, "good", ev.Good, tt.good)
			check.Want(t, "Answered", f.Answered(), tt.good)
			if tt.text != "" {
				f.wantText(tt.text)
				return
			}
			if _, ok := errors.AsType[*lookup.Error](ev.Err); !ok {
				t.Errorf("error is %#v", ev.Err)
			}
		})
	}
}

// TestLookupdNodes: without a topic all nsqds are asked for.
func TestLookupdNodes(t *testing.T) {
	l := lookupd{client(t, func(r *http.Request) (int, string) {
		check.Want(t, "URL", r.URL.String(), "http://lookup:4161/nodes")
		return 200, producers("a")
	})}
	found, err := l.Discover(t.Context(), "")
	check.WantErr(t, "error", err, nil)
	check.Want(t, "found", strings.Join(found, " "), "a:1")
}

// TestSourceOrder: nsqlookupds come first in Stats, then the other sources.
func TestSourceOrder(t *testing.T) {
	c := client(t, nil)
	d := New(Config{Topic: "orders", Lookupds: []*lookup.Client{c}, Sources: []Source{answers(answer{}), lookupd{c}}, Max: 1}, &recorder{}, nil)
	var names []string
	for _, s := range d.Stats() {
		names = append(names, s.Name)
	}
	check.Want(t, "names", strings.Join(names, " "), "lookup:4161 discover.sourceFunc discover.lookupd")
}
