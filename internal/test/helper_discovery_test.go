package test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
)

// finder is a Discoverer whose answers the test sets.
type finder struct {
	mu    sync.Mutex
	found []string
	err   error
	act   func(ctx context.Context) // called before the answer, if not nil
	polls []time.Time
}

func newFinder(addrs ...string) *finder { return &finder{found: addrs} }

// takes returns an act that lasts for a while, and ends with ctx.
func takes(d time.Duration) func(context.Context) {
	return func(ctx context.Context) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}

func (f *finder) Discover(ctx context.Context, topic string) ([]string, error) {
	f.mu.Lock()
	f.polls = append(f.polls, time.Now())
	act, found, err := f.act, slices.Clone(f.found), f.err
	f.mu.Unlock()
	if topic != "orders" {
		err = errors.New("asked for " + topic)
	}
	if act != nil {
		act(ctx)
	}
	return found, err
}

func (f *finder) set(err error, found ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found, f.err = found, err
}

func (f *finder) pollTimes() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.polls)
}

// waitPolls waits until f was asked n more times and the answers have been applied.
func (f *finder) waitPolls(n int) {
	for before := len(f.pollTimes()); len(f.pollTimes()) < before+n; {
		time.Sleep(10 * time.Millisecond)
	}
	synctest.Wait()
}

// dialOnly makes servers reachable by their addresses, and nothing else.
func dialOnly(servers []*nsqxtest.Server) nsqx.Option {
	return nsqx.WithConn(conn.Config{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		for _, s := range servers {
			if s.Addr() == addr {
				return s.DialContext(ctx, network, addr)
			}
		}
		return nil, errors.New("there is nothing at " + addr)
	}})
}

// discover runs a consumer that discovers servers, asking each second.
func discover(t *testing.T, servers []*nsqxtest.Server, opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	c := newConsumer(t, done, append(opts, dialOnly(servers), nsqx.WithLookupInterval(time.Second))...)
	nsqxtest.Run(t, c)
	synctest.Wait()
	return c
}

// addrs returns the addresses that a consumer knows, in order, with a ! before each without a
// connection.
func addrs(c *nsqx.Consumer[string]) string {
	synctest.Wait()
	var all []string
	for _, conn := range c.Stats().Connections {
		mark := ""
		if !conn.Connected {
			mark = "!"
		}
		all = append(all, mark+strings.TrimSuffix(conn.Addr, ".test:4150"))
	}
	return strings.Join(all, " ")
}

func wantReady(t *testing.T, c *nsqx.Consumer[string], ready bool, health error) {
	t.Helper()
	synctest.Wait()
	select {
	case <-c.Ready():
		want(t, "ready", true, ready)
	default:
		want(t, "ready", false, ready)
	}
	wantErr(t, "health", c.Healthy(), health)
}
