package gonsq

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/nsqxtest"
)

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// isErr checks an error by its text.
func isErr(t *testing.T, what string, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got error %v, want one with %q", what, err, text)
	}
}

// testConsumer returns a consumer whose dials reach the server. It is stopped at the end of the test.
func testConsumer(t *testing.T, s *nsqxtest.Server, set func(*Config)) *Consumer {
	t.Helper()
	cfg := NewConfig()
	if set != nil {
		set(cfg)
	}
	c, err := newConsumer("orders", "billing", cfg, s.DialContext)
	if err != nil {
		t.Fatal(err)
	}
	c.SetLogger(nil, 0)
	t.Cleanup(func() {
		c.Stop()
		<-c.StopChan
	})
	return c
}

// connect adds a handler and connects.
func connect(t *testing.T, s *nsqxtest.Server, c *Consumer, n int, h HandlerFunc) {
	t.Helper()
	c.AddConcurrentHandlers(h, n)
	if err := c.ConnectToNSQD(s.Addr()); err != nil {
		t.Fatal(err)
	}
}

func finished(n int) func(nsqxtest.ChannelStats) bool {
	return func(st nsqxtest.ChannelStats) bool { return int(st.Finished) == n }
}

// list is a slice that goroutines share.
type list[T any] struct {
	mu  sync.Mutex
	all []T
}

func (l *list[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, v)
}

func (l *list[T]) get() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]T(nil), l.all...)
}

// lines is a logger.
type lines struct{ list[string] }

func (l *lines) Output(_ int, s string) error {
	l.add(s)
	return nil
}

func (l *lines) has(text string) bool { return strings.Contains(strings.Join(l.get(), "\n"), text) }

var errNo = errors.New("no")

// options returns the names of all options of a Config.
func options() (all []string) {
	for f := range reflect.TypeFor[Config]().Fields() {
		if name := f.Tag.Get("opt"); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// dialAny reaches servers by their addresses.
func dialAny(servers []*nsqxtest.Server) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		for _, s := range servers {
			if s.Addr() == addr {
				return s.DialContext(ctx, network, addr)
			}
		}
		return nil, errors.New("there is nothing at " + addr)
	}
}
