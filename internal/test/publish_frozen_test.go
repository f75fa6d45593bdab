package test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// load publishes at a steady rate for a while, each publish in a goroutine of its own, as requests of a
// web service do. It returns the errors, and how many publishes began while the nsqd was not known to
// be frozen.
func load(t *testing.T, p *nsqx.Publisher, pause, lasts time.Duration, timeout time.Duration) (n int, failures []error) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for start := time.Now(); time.Since(start) < lasts; time.Sleep(pause) {
		n++
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			if err := sendTo(ctx, p, "orders", "x"); err != nil {
				mu.Lock()
				failures = append(failures, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return n, failures
}

// TestFrozenNSQDLosesItsTurn: one nsqd of three accepts publishes and never answers. Only those fail
// that were sent to it, two writes, and one at each new connection that does not answer either. What
// waited to be sent goes elsewhere when an answer is overdue.
func TestFrozenNSQDLosesItsTurn(t *testing.T) {
	const pause = 10 * time.Millisecond
	const perSecond = int(time.Second / pause)
	const sent, connections = 2, 7 // in 3 minutes
	for name, freeze := range map[string]func(s *nsqxtest.Server) (thaw func()){
		"suspended": func(s *nsqxtest.Server) func() {
			s.Freeze(nsqxtest.BothWays)
			return func() { s.Thaw(nsqxtest.BothWays) }
		},
		"its disk hangs": func(s *nsqxtest.Server) func() {
			var over atomic.Bool
			onPublish(func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
				if over.Load() {
					return nsqxtest.Proceed()
				}
				return nsqxtest.Drop()
			}, s)
			return func() { over.Store(true) }
		},
	} {
		bubble(t, name, func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 3)
			p := newPublisher(t, servers)
			if _, failures := load(t, p, pause, time.Second, time.Minute); len(failures) > 0 {
				t.Fatalf("before: %v", failures[0])
			}
			thaw := freeze(servers[1])
			n, failures := load(t, p, pause, 3*time.Minute, 5*time.Second)
			for _, err := range failures {
				wantKind(t, err, nsqx.ErrUnconfirmed)
				if e, ok := errors.AsType[*nsqx.PublishError](err); !ok || e.NSQD != servers[1].Addr() {
					t.Errorf("error is %v", err)
				}
			}
			if len(failures) == 0 || len(failures) > sent+connections {
				t.Errorf("%d of %d publishes failed, want 1 to %d", len(failures), n, sent+connections)
			}
			others := publishedBy(servers, "orders")
			thaw()
			time.Sleep(31 * time.Second)
			_, failures = load(t, p, pause, time.Second, time.Minute)
			want(t, "failures when it answers again", len(failures), 0)
			for i, n := range publishedBy(servers, "orders") {
				if n-others[i] < perSecond/4 {
					t.Errorf("nsqd %d got %d messages when it answered again", i+1, n-others[i])
				}
			}
		})
	}
}

// TestSlowNSQDComesBack: an nsqd that hangs for a while and then answers has its turn again at once.
// Nothing fails.
func TestSlowNSQDComesBack(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3)
		p := newPublisher(t, servers)
		load(t, p, 10*time.Millisecond, time.Second, time.Minute)
		servers[1].Freeze(nsqxtest.ToServer)
		before := publishedBy(servers, "orders")
		for range 5 {
			time.AfterFunc(5*time.Second, func() { servers[1].Thaw(nsqxtest.ToServer) })
			n, failures := load(t, p, 10*time.Millisecond, 5*time.Second, time.Minute)
			want(t, "failures", len(failures), 0)
			during := publishedBy(servers, "orders")
			if late := during[1] - before[1]; late < 1 || late > 2 {
				t.Errorf("%d of %d publishes waited for the slow nsqd", late, n)
			}
			load(t, p, 10*time.Millisecond, 10*time.Second, time.Minute)
			before = publishedBy(servers, "orders")
			if n := before[1] - during[1]; n < 333-2 {
				t.Errorf("%d of 1000 publishes after it has answered", n)
			}
			servers[1].Freeze(nsqxtest.ToServer)
		}
		servers[1].Thaw(nsqxtest.ToServer)
	})
}

// TestFrozenAlone: if there is no other nsqd, a frozen one is used as before.
func TestFrozenAlone(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1)
		p := newPublisher(t, servers)
		servers[0].Freeze(nsqxtest.ToServer)
		var results []<-chan error
		for range 5 {
			results = append(results, inBackground(func() error { return sendTo(context.Background(), p, "orders", "x") }))
			time.Sleep(2 * time.Second)
		}
		servers[0].Thaw(nsqxtest.ToServer)
		synctest.Wait()
		for _, result := range results {
			wantKind(t, <-result, nil)
		}
		wantErr(t, "health", p.Healthy(), nil)
	})
}
