package lookup_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nsqx/nsqx/internal/lookup"
)

// L14.
func TestRequest(t *testing.T) {
	var got *http.Request
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = w.Write([]byte(nodes()))
	})
	plain := strings.TrimPrefix(server.URL, "http://")
	for _, tt := range []struct{ addr, topic, want string }{
		{plain, "orders", "/lookup?topic=orders"},
		{server.URL, "orders", "/lookup?topic=orders"},
		{server.URL + "/", "orders#ephemeral", "/lookup?topic=orders%23ephemeral"},
		{server.URL + "/a/b", "orders", "/a/b/lookup?topic=orders"},
		{server.URL + "/a%2Fb/", "orders", "/a%2Fb/lookup?topic=orders"},
		{plain, "a&b=c d/?é", "/lookup?topic=a%26b%3Dc+d%2F%3F%C3%A9"},
		{plain, "", "/nodes"},
		{server.URL + "/a", "", "/a/nodes"},
	} {
		c := client(t, tt.addr, lookup.Config{})
		var err error
		if tt.topic == "" {
			_, err = c.Nodes(t.Context())
		} else {
			_, err = c.Lookup(t.Context(), tt.topic)
		}
		if err != nil {
			t.Fatalf("%s: %v", tt.want, err)
		}
		if c.Addr() != tt.addr || got.Method != http.MethodGet || got.RequestURI != tt.want || got.Host != plain {
			t.Errorf("%s: %s %s of %s, want %s", c.Addr(), got.Method, got.RequestURI, got.Host, tt.want)
		}
		if accept := got.Header.Get("Accept"); accept != "application/vnd.nsq; version=1.0" {
			t.Errorf("Accept: %q", accept)
		}
		if got.Header.Get("User-Agent") != "nsqx" || got.Header.Values("Authorization") != nil {
			t.Errorf("header %v", got.Header)
		}
	}
}

func TestAuthorization(t *testing.T) {
	got := ""
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = strings.Join(r.Header.Values("Authorization"), ",")
		_, _ = w.Write([]byte(nodes()))
	})
	secret, fault := "", error(nil)
	c := client(t, server.URL, lookup.Config{Authorization: func(ctx context.Context) (string, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		return secret, fault
	}})
	for _, secret = range []string{"Bearer one", "Bearer two", ""} { // called for each request
		if _, err := c.Nodes(t.Context()); err != nil || got != secret {
			t.Errorf("sent %q, error %v, want %q", got, err, secret)
		}
	}
	got, fault = "nothing", errors.New("the vault is closed")
	_, err := c.Nodes(t.Context())
	lookupError(t, err, 0, "no Authorization: the vault is closed")
	if !errors.Is(err, fault) || got != "nothing" {
		t.Errorf("error %v, sent %q", err, got)
	}
}

// L3: net/http would send the Authorization to another port of the same host.
func TestRedirects(t *testing.T) {
	var asked atomic.Int32
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(nodes(node("evil", 4150))))
	})
	followed := 0
	callers := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { followed++; return nil }}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{other.URL + "/nodes", strings.Replace(other.URL, "127.0.0.1", "localhost", 1), "file:///etc/passwd", "/nodes", ""} {
			for _, cfg := range []lookup.Config{{}, {HTTPClient: http.DefaultClient}, {HTTPClient: callers}} {
				cfg.Authorization = func(context.Context) (string, error) { return "Bearer canary", nil }
				requests := 0
				server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					requests++
					w.Header().Set("Location", location)
					w.WriteHeader(status)
				})
				_, err := client(t, server.URL, cfg).Nodes(t.Context())
				lookupError(t, err, status, "")
				if requests != 1 {
					t.Errorf("%d to %q: %d requests", status, location, requests)
				}
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
	callers.CloseIdleConnections()
	if n := asked.Load(); n != 0 || followed != 0 {
		t.Errorf("%d requests reached the other address, the caller's CheckRedirect was asked %d times", n, followed)
	}
	if http.DefaultClient.CheckRedirect != nil || callers.CheckRedirect == nil {
		t.Error("the caller's client was changed")
	}
}

func TestCallersClient(t *testing.T) {
	fault := errors.New("no way there")
	c := client(t, "lookup:4161", lookup.Config{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.String() != "http://lookup:4161/nodes" {
			t.Errorf("asked %s", r.URL)
		}
		return nil, fault
	})}})
	_, err := c.Nodes(t.Context())
	lookupError(t, err, 0, "nsqx: nsqlookupd lookup:4161: no way there")
	if !errors.Is(err, fault) {
		t.Errorf("error %v", err)
	}
}

// This test is for the race detector.
func TestConcurrent(t *testing.T) {
	c := answers(t, http.StatusOK, nodes(node("a", 4150)), lookup.Config{})
	results := make(chan []string)
	for range 8 {
		go func() {
			answer, _ := c.Lookup(t.Context(), "orders")
			results <- answer.Addrs
		}()
	}
	for range 8 {
		if got := <-results; !slices.Equal(got, []string{"a:4150"}) {
			t.Errorf("%q", got)
		}
	}
}
