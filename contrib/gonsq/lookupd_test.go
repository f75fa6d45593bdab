package gonsq

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx/nsqxtest"
)

// directory plays nsqlookupds, by host.
type directory struct {
	mu       sync.Mutex
	answers  map[string]string // body; "" for a failure
	requests []*http.Request
}

func (d *directory) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, r)
	body := d.answers[r.URL.Host]
	switch body {
	case "":
		return nil, errors.New("down")
	case "404":
		return &http.Response{StatusCode: 404, Body: io.NopCloser(strings.NewReader(`{"message":"TOPIC_NOT_FOUND"}`))}, nil
	case "500":
		return &http.Response{StatusCode: 500, Status: "500 no", Body: io.NopCloser(strings.NewReader("oops"))}, nil
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (d *directory) set(host, body string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[host] = body
}

func producers(addrs ...string) string {
	var all []string
	for _, addr := range addrs {
		host, port, _ := net.SplitHostPort(addr)
		all = append(all, fmt.Sprintf(`{"broadcast_address":%q,"tcp_port":%s}`, host, port))
	}
	return `{"channels":[],"producers":[` + strings.Join(all, ",") + `]}`
}

// discovering returns a consumer that asks the directory, and has a handler.
func discovering(t *testing.T, s []*nsqxtest.Server, d *directory) *Consumer {
	t.Helper()
	cfg := NewConfig()
	cfg.LookupdPollInterval, cfg.AuthSecret = time.Second, "secret"
	c, err := newConsumer("orders", "billing", cfg, dialAny(s))
	if err != nil {
		t.Fatal(err)
	}
	c.SetLogger(nil, 0)
	c.SetLookupdHttpClient(&http.Client{Transport: d})
	c.AddHandler(HandlerFunc(func(*Message) error { return nil }))
	t.Cleanup(func() {
		c.Stop()
		<-c.StopChan
	})
	return c
}

// TestLookupd: ConnectToNSQLookupd returns with the nsqds connected, and each nsqlookupd adds its own.
func TestLookupd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3)
		d := &directory{answers: map[string]string{"a:4161": producers(s[0].Addr()), "b:4161": producers(s[0].Addr(), s[1].Addr()), "c:4161": "404", "d:4161": "500"}}
		c := discovering(t, s, d)
		want(t, "first", c.ConnectToNSQLookupd("a:4161"), nil)
		want(t, "connections", c.Stats().Connections, 1)
		want(t, "others", c.ConnectToNSQLookupds([]string{"a:4161", "http://b:4161/", "c:4161", "d:4161", "down:1"}), nil)
		want(t, "connections", c.Stats().Connections, 2)
		d.mu.Lock()
		want(t, "request", d.requests[0].URL.String()+" "+d.requests[0].Header.Get("Authorization"), "http://a:4161/lookup?topic=orders Bearer secret")
		d.mu.Unlock()

		d.set("c:4161", producers(s[2].Addr()))
		time.Sleep(2 * time.Second)
		want(t, "connections", c.Stats().Connections, 3)
		isErr(t, "disconnect of a found nsqd", c.DisconnectFromNSQD(s[2].Addr()), "DiscoveryFilter")
		want(t, "connect to a found nsqd", c.ConnectToNSQD(s[2].Addr()), ErrAlreadyConnected)

		want(t, "unknown", c.DisconnectFromNSQLookupd("x:1"), ErrNotConnected)
		isErr(t, "no port", c.DisconnectFromNSQLookupd("x"), "missing port")
		for _, addr := range []string{"a:4161", "b:4161", "d:4161", "down:1"} {
			want(t, "disconnect from "+addr, c.DisconnectFromNSQLookupd(addr), nil)
		}
		isErr(t, "the last one", c.DisconnectFromNSQLookupd("c:4161"), "only remaining")
		time.Sleep(10 * time.Second)
		want(t, "connections stay", c.Stats().Connections, 3)
	})
}

// notFirst is a DiscoveryFilter that looks at all addresses.
type notFirst struct{}

func (notFirst) Filter(addrs []string) []string { return addrs[1:] }

func TestDiscoveryFilter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3)
		d := &directory{answers: map[string]string{"a:4161": producers(s[0].Addr(), s[1].Addr(), s[2].Addr())}}
		c := discovering(t, s, d)
		c.SetBehaviorDelegate(notFirst{})
		want(t, "connect", c.ConnectToNSQLookupd("a:4161"), nil)
		want(t, "connections", c.Stats().Connections, 2)
		want(t, "dials of the first", s[0].Dials(), 0)
	})
}

// TestLookupdDown: the call returns, and the consumer goes on trying.
func TestLookupdDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		d := &directory{answers: map[string]string{}}
		c := discovering(t, s, d)
		began := time.Now()
		want(t, "connect", c.ConnectToNSQLookupd("a:4161"), nil)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		d.set("a:4161", producers(s[0].Addr()))
		time.Sleep(10 * time.Second)
		want(t, "connections", c.Stats().Connections, 1)
	})
}
