package lookup_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/lookup"
)

// TestRegister: topic and channel are created in this order, with the Authorization of one call.
func TestRegister(t *testing.T) {
	var mu sync.Mutex
	var got []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Accept"))
	})
	calls := 0
	c := client(t, server.URL+"/prefix", lookup.Config{Authorization: func(context.Context) (string, error) {
		calls++
		return "Bearer secret", nil
	}})
	if err := c.Register(t.Context(), "orders", "a.b"); err != nil {
		t.Fatal(err)
	}
	const with = " Bearer secret application/vnd.nsq; version=1.0"
	want := []string{"POST /prefix/topic/create?topic=orders" + with, "POST /prefix/channel/create?channel=a.b&topic=orders" + with}
	if !slices.Equal(got, want) || calls != 1 {
		t.Errorf("%d calls of Authorization, requests %q, want %q", calls, got, want)
	}
}

// TestRegisterRefused: an answer other than 200 is an error, of either request and in either form.
func TestRegisterRefused(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   int // 0: none
	}{
		{200, "", 0}, {200, "x", 0}, {200, "null", 0}, {200, `{"status_code":200,"status_txt":"OK","data":null}`, 0},
		{200, `{"status_code":500,"status_txt":"no","data":null}`, 500}, {201, "", 201}, {302, "", 302}, {400, `{"message":"INVALID_ARG_TOPIC"}`, 400},
		{403, "forbidden secret", 403}, {404, "404 page not found\n", 404}, {404, `{"message":"TOPIC_NOT_FOUND"}`, 404}, {500, strings.Repeat("x", 2<<20), 500},
	} {
		for _, at := range []string{"/topic/create", "/channel/create"} {
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == at {
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, tt.body)
				}
			})
			c := client(t, server.URL, lookup.Config{Authorization: func(context.Context) (string, error) { return "secret", nil }})
			err := c.Register(t.Context(), "orders", "billing")
			if tt.want == 0 {
				if err != nil {
					t.Errorf("%s: %d %.80q: %v", at, tt.status, tt.body, err)
				}
				continue
			}
			lookupError(t, err, tt.want, "")
			if strings.Contains(err.Error(), "forbidden secret") {
				t.Errorf("%v has the secret", err)
			}
		}
	}
}

// TestRegisterTooMuch: an endless answer is cut.
func TestRegisterTooMuch(t *testing.T) {
	c := client(t, raw(t, func(nc net.Conn) {
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n")
		write(nc, strings.Repeat("x", 1000))
	}), lookup.Config{})
	lookupError(t, c.Register(t.Context(), "orders", "billing"), http.StatusOK, "larger than 1048576 bytes")
}

// TestRegisterTooSlow: both requests have one timeout.
func TestRegisterTooSlow(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(150 * time.Millisecond):
		}
	})
	c := client(t, server.URL, lookup.Config{HTTPClient: &http.Client{Timeout: 200 * time.Millisecond}})
	timedOut(t, c.Register(t.Context(), "orders", "billing"))
	failure := errors.New("no secret")
	c = client(t, server.URL, lookup.Config{Authorization: func(context.Context) (string, error) { return "", failure }})
	if err := c.Register(t.Context(), "orders", "billing"); !errors.Is(err, failure) {
		t.Errorf("error %v, want %v", err, failure)
	}
}

// TestChannels: channels that cannot be read do not spoil the addresses.
func TestChannels(t *testing.T) {
	a := node("a", 4150)
	for body, want := range map[string][]string{
		`{"channels":["x","y"],"producers":[` + a + `]}`:        {"x", "y"},
		`{"data":{"channels":["x"],"producers":[` + a + `]}}`:   {"x"},
		`{"channels":null,"producers":[` + a + `]}`:             nil,
		`{"channels":5,"producers":[` + a + `]}`:                nil,
		`{"channels":["x",5],"producers":[` + a + `]}`:          nil,
		`{"channels":{"producers":[]},"producers":[` + a + `]}`: nil,
		`{"producers":[` + a + `]}`:                             nil,
	} {
		got, err := answers(t, http.StatusOK, body, lookup.Config{}).Lookup(t.Context(), "orders")
		if err != nil || !slices.Equal(got.Addrs, []string{"a:4150"}) || !slices.Equal(got.Channels, want) {
			t.Errorf("%s: %+v, error %v, want channels %q", body, got, err, want)
		}
	}
}

// TestNamed counts static addresses and those of last polls.
func TestNamed(t *testing.T) {
	table := lookup.NewTable(plenty)
	named := func(want int) {
		t.Helper()
		if got := table.Named(); got != want {
			t.Errorf("%d named, want %d", got, want)
		}
	}
	named(0)
	table.Poll(0, words("a b"), lookup.Complete)
	table.Poll(1, words("b c"), lookup.Complete)
	named(3)
	table.Poll(0, nil, lookup.Unknown)
	named(3)
	table.Poll(0, nil, lookup.Complete)
	named(2)
	table.Poll(1, words("c"), lookup.Complete)
	named(1)
	table.Poll(1, nil, lookup.Complete)
	named(0)
	table.Static("s", "a")
	named(2)
}
