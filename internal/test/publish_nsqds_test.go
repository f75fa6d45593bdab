package test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestRoundRobin: connected nsqds get the same number of messages. One that is down gets none until
// it is back.
func TestRoundRobin(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3)
		p := newPublisher(t, servers)
		send := func(n int) {
			for range n {
				wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
			}
		}
		send(30)
		if got := publishedBy(servers, "orders"); !slices.Equal(got, []int{10, 10, 10}) {
			t.Errorf("messages by nsqd are %v", got)
		}
		servers[1].Refuse(true)
		servers[1].Disconnect()
		synctest.Wait()
		send(30)
		if got := publishedBy(servers, "orders"); !slices.Equal(got, []int{25, 10, 25}) {
			t.Errorf("messages by nsqd are %v", got)
		}
		want(t, "healthy", p.Healthy(), nil)
		servers[1].Refuse(false)
		time.Sleep(10 * time.Second)
		send(30)
		if got := publishedBy(servers, "orders"); !slices.Equal(got, []int{35, 20, 35}) {
			t.Errorf("messages by nsqd are %v", got)
		}
	})
}

// TestNotSentGoesElsewhere: another nsqd gets at once what one does not accept.
func TestNotSentGoesElsewhere(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 2)
		onPublish(always(nsqxtest.Fail("E_PUB_FAILED PUB failed")), servers[0])
		p := newPublisher(t, servers)
		start := time.Now()
		for _, body := range numbered(10) {
			wantKind(t, sendTo(t.Context(), p, "orders", body), nil)
		}
		want(t, "at the other", published(servers[1], "orders"), strings.Join(numbered(10), " "))
		want(t, "took", time.Since(start), 0)
	})
}

// TestPreferredNSQD: Outgoing.NSQD names the nsqd to use, and afterwards the one that was used. If
// it is not known, any nsqd is used.
func TestPreferredNSQD(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3)
		p := newPublisher(t, servers)
		for range 5 {
			out := message("orders", "x")
			out.NSQD = servers[2].Addr()
			wantKind(t, p.Send(t.Context(), out), nil)
			want(t, "asked", out.NSQD, servers[2].Addr())
		}
		want(t, "at the preferred", len(servers[2].Published("orders")), 5)
		out := message("orders", "x")
		wantKind(t, p.Send(t.Context(), out), nil)
		if out.NSQD == "" {
			t.Error("NSQD is empty")
		}
		out.NSQD = "unknown:4150"
		wantKind(t, p.Send(t.Context(), out), nil)
	})
}

// TestCommandsOfOneSend: each command goes to any nsqd that can take it, even if the nsqd of the
// first one is lost.
func TestCommandsOfOneSend(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 2)
		onPublish(func(c *nsqxtest.ServerConn, _ nsqxtest.Command) nsqxtest.Action {
			s := c.Server()
			time.AfterFunc(time.Second, func() {
				s.Freeze(nsqxtest.ToServer) // its next handshake hangs
				c.Disconnect()
			})
			return nsqxtest.Proceed().After(time.Second - 1)
		}, servers[0])
		p := newPublisher(t, servers, nsqx.WithConn(conn.Config{MaxBodySize: 4 + 10}), nsqx.WithAtLeastOnce())
		start := time.Now()
		wantKind(t, p.Send(t.Context(), message("orders", numbered(6)...)), nil)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := publishedBy(servers, "orders"); got[0] == 0 || got[1] == 0 {
			t.Errorf("messages by nsqd are %v", got)
		}
	})
}

// TestNoNSQD: a publish waits for an nsqd until the publish timeout; with timeout 0, until all
// dials have failed.
func TestNoNSQD(t *testing.T) {
	for _, timeout := range []time.Duration{0, 3 * time.Second, 10 * time.Second} {
		bubble(t, timeout.String(), func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 3)
			for _, s := range servers {
				s.Refuse(true)
			}
			p := newPublisher(t, servers, nsqx.WithPublishTimeout(timeout))
			start := time.Now()
			err := sendTo(t.Context(), p, "orders", "x")
			wantKind(t, err, nsqx.ErrNotSent)
			wantErr(t, "why", err, nsqx.ErrNoNSQD)
			want(t, "took", time.Since(start), timeout)
			for _, s := range servers {
				if !strings.Contains(err.Error(), s.Addr()) && timeout == 0 {
					t.Errorf("the error does not say what is wrong with %s: %v", s.Addr(), err)
				}
			}
			wantErr(t, "health", p.Healthy(), nsqx.ErrNoNSQD)
			wantErr(t, "ping", p.Ping(t.Context()), nsqx.ErrNoNSQD)
			want(t, "counted", p.Stats().NotSent, 1)

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if timeout > 0 {
				start = time.Now()
				err := sendTo(ctx, p, "orders", "x")
				wantKind(t, err, nsqx.ErrNotSent)
				wantErr(t, "why", err, context.DeadlineExceeded)
				want(t, "took", time.Since(start), time.Second)
				wantErr(t, "ping", p.Ping(ctx), context.DeadlineExceeded)
			}
			servers[2].Refuse(false)
			time.Sleep(10 * time.Second)
			wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
			wantErr(t, "health", p.Healthy(), nil)
			wantErr(t, "ping", p.Ping(t.Context()), nil)
		})
	}
}

// TestWaitingPublishGoesOut: a waiting publish is sent as soon as an nsqd is connected.
func TestWaitingPublishGoesOut(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Refuse(true)
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithPublishTimeout(time.Hour))
		var results []<-chan error
		for range 100 {
			results = append(results, inBackground(func() error { return sendTo(t.Context(), p, "orders", "x") }))
		}
		ping := inBackground(func() error { return p.Ping(t.Context()) })
		time.Sleep(time.Minute)
		s.Refuse(false)
		time.Sleep(10 * time.Second)
		for _, result := range results {
			wantKind(t, <-result, nil)
		}
		wantErr(t, "ping", <-ping, nil)
		want(t, "published", len(s.Published("orders")), 100)
	})
}

// TestPermanentDialErrors: a publish fails at once if the dial errors of all nsqds are permanent,
// and waits if one of them may recover.
func TestPermanentDialErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		heal []bool // of the nsqds: it is refused; of the others: they have no snappy
		took time.Duration
	}{
		"one":             {[]bool{false}, 0},
		"all":             {[]bool{false, false, false}, 0},
		"all but the 1st": {[]bool{true, false, false}, 10 * time.Second},
		"all but the 2nd": {[]bool{false, true, false}, 10 * time.Second},
		"all but the 3rd": {[]bool{false, false, true}, 10 * time.Second},
	} {
		bubble(t, name, func(t *testing.T) {
			servers := nsqxtest.NewServers(t, len(tt.heal))
			var addrs []string
			down := make(map[string]bool)
			for i, s := range servers {
				addrs = append(addrs, s.Addr())
				down[s.Addr()] = tt.heal[i]
			}
			p := newPublisherOf(t, nsqx.WithNSQD(addrs...), nsqx.WithConn(conn.Config{
				Compression: conn.Snappy,
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					for _, s := range servers {
						if s.Addr() == addr && !down[addr] {
							return s.DialContext(ctx, network, addr)
						}
					}
					return nil, errors.New("refused")
				},
			}))
			start := time.Now()
			err := sendTo(t.Context(), p, "orders", "x")
			wantKind(t, err, nsqx.ErrNotSent)
			wantErr(t, "why", err, conn.ErrNoCompression)
			want(t, "took", time.Since(start), tt.took)
		})
	}
}

// TestRedialOfAnIdleConnection: the first redial after a long connection comes early, whatever was
// before it, and whether or not something was published.
func TestRedialOfAnIdleConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Refuse(true)
		p := newPublisher(t, []*nsqxtest.Server{s})
		time.Sleep(time.Minute) // for long redial delays
		s.Refuse(false)
		time.Sleep(time.Hour)
		want(t, "healthy", p.Healthy(), nil)
		s.Disconnect()
		time.Sleep(150 * time.Millisecond)
		want(t, "healthy again", p.Healthy(), nil)
	})
}

// TestNoRedialStorm: an nsqd that ends every connection is dialled under backoff.
func TestNoRedialStorm(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(always(nsqxtest.Fail("E_PUB_FAILED PUB failed")), s)
		p := newPublisher(t, []*nsqxtest.Server{s})
		for range 20 {
			wantKind(t, sendTo(t.Context(), p, "orders", "x"), nsqx.ErrNotSent)
		}
		if n := s.Dials(); n > 60 { // within 200 s
			t.Errorf("%d dials", n)
		}
	})
}

// TestEndingConnections: a connection whose writes fail, but which has not ended yet, is not used
// in a loop.
func TestEndingConnections(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 2)
		broken := []*atomic.Bool{new(atomic.Bool), new(atomic.Bool)}
		p := newPublisherOf(t, nsqx.WithNSQD(servers[0].Addr(), servers[1].Addr()), nsqx.WithConn(conn.Config{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				i := slices.IndexFunc(servers, func(s *nsqxtest.Server) bool { return s.Addr() == addr })
				nc, err := servers[i].DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return brokenConn{nc, broken[i]}, nil
			},
		}))
		for _, b := range broken {
			b.Store(true)
		}
		lost := []<-chan error{}
		for range 2 { // one for each
			lost = append(lost, inBackground(func() error { return sendTo(t.Context(), p, "orders", "lost") }))
		}
		later := inBackground(func() error { return sendTo(t.Context(), p, "orders", "later") })
		for i := range broken {
			broken[i].Store(false)
		}
		for _, result := range lost {
			wantKind(t, <-result, nsqx.ErrUnconfirmed)
		}
		wantKind(t, <-later, nil)
	})
}

// TestDiscoveredNSQDs: a publisher asks its sources for topic "", which means all nsqds. An nsqd
// that is not named any more gets nothing when its connection ends, and is dialled on.
func TestDiscoveredNSQDs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3)
		var mu sync.Mutex
		found := []string{}
		var asked []string
		source := nsqx.DiscovererFunc(func(_ context.Context, topic string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, topic)
			return slices.Clone(found), nil
		})
		p := newPublisherOf(t, nsqx.WithDiscoverer(source), nsqx.WithLookupInterval(time.Second), dialOnly(servers), nsqx.WithPublishTimeout(10*time.Second))
		start := time.Now()
		result := inBackground(func() error { return sendTo(t.Context(), p, "orders", "x") })
		time.Sleep(3 * time.Second)
		mu.Lock()
		found = []string{servers[0].Addr(), servers[1].Addr()}
		mu.Unlock()
		wantKind(t, <-result, nil)
		if took := time.Since(start); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		for range 19 {
			wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
		}
		mu.Lock()
		found = []string{servers[2].Addr()}
		mu.Unlock()
		time.Sleep(10 * time.Second)
		want(t, "connections", len(p.Stats().Connections), 3) // connections that work are kept
		for _, s := range servers[:2] {
			s.Refuse(true)
			s.Disconnect()
		}
		time.Sleep(10 * time.Second)
		want(t, "connections", len(p.Stats().Connections), 3)
		wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
		got := publishedBy(servers, "orders")
		if got[0]+got[1] != 20 || got[2] != 1 {
			t.Errorf("messages by nsqd are %v", got)
		}
		for _, topic := range asked {
			want(t, "asked for topic", topic, "")
		}
		if s := p.Stats().Lookups; len(s) != 1 || s[0].Found != 1 {
			t.Errorf("lookups are %+v", s)
		}
	})
}
