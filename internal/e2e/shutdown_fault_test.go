package e2e

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
)

// frozenAt is a consumer that has reached a point and stays there.
type frozenAt struct {
	opts    []nsqx.ConsumerOption
	reached func() bool
}

// TestShutdownFrozenS8: the shutdown comes while the consumer waits for something that never
// happens. Run returns and leaves nothing behind.
func TestShutdownFrozenS8(t *testing.T) {
	t.Parallel()
	ca := testnsqd.NewAuthority(t)
	// at freezes bytes to the client once bytes to nsqd begin with first.
	at := func(t testing.TB, p *testnsqd.Proxy, first byte) func() bool {
		var frozen atomic.Bool
		p.Tap(func(d testnsqd.Direction, b []byte) []byte {
			if d == testnsqd.ToServer && b[0] == first {
				p.Freeze(testnsqd.ToClient)
				frozen.Store(true)
			}
			return b
		})
		return frozen.Load
	}
	for name, freeze := range map[string]func(t testing.TB) frozenAt{
		"dial": func(testing.TB) frozenAt {
			var dialling atomic.Bool
			hangs := conn.Config{DialTimeout: time.Hour, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				dialling.Store(true)
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithNSQD("127.0.0.1:9"), nsqx.WithConn(hangs)}, dialling.Load}
		},
		"IDENTIFY": func(t testing.TB) frozenAt {
			p := testnsqd.StartProxy(t, testnsqd.Start(t).Addr())
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithNSQD(p.Addr())}, at(t, p, ' ')} // "  V2"
		},
		"TLS handshake": func(t testing.TB) frozenAt {
			p := testnsqd.StartProxy(t, testnsqd.Start(t, ca.RequireTLS).Addr())
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithNSQD(p.Addr()), nsqx.WithConn(conn.Config{TLS: ca.ClientConfig()})}, at(t, p, 0x16)}
		},
		"AUTH": func(t testing.TB) frozenAt {
			auth := testnsqd.StartAuth(t)
			auth.SetMode(testnsqd.AuthSlow)
			s := testnsqd.Start(t, auth.Require, func(o *nsqd.Options) { o.HTTPClientRequestTimeout = time.Second })
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithNSQD(s.Addr()), nsqx.WithConn(conn.Config{AuthSecret: secret, AllowPlaintextAuth: true})},
				func() bool { return len(auth.Secrets()) > 0 }}
		},
		"AuthSecret": func(t testing.TB) frozenAt {
			s := testnsqd.Start(t, testnsqd.StartAuth(t).Require)
			var asked atomic.Bool
			slow := func(ctx context.Context) (string, error) {
				asked.Store(true)
				<-ctx.Done()
				return "", ctx.Err()
			}
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithNSQD(s.Addr()), nsqx.WithConn(conn.Config{AuthSecret: slow, AllowPlaintextAuth: true})}, asked.Load}
		},
		"SUB": func(t testing.TB) frozenAt {
			p := testnsqd.StartProxy(t, testnsqd.Start(t).Addr())
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithNSQD(p.Addr())}, at(t, p, 'S')}
		},
		"backoff": func(t testing.TB) frozenAt {
			p := testnsqd.StartProxy(t, testnsqd.Start(t).Addr())
			p.Refuse()
			w := new(watch)
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks())}, func() bool { return len(w.events(&w.dialErrors)) >= 4 }}
		},
		"lookup poll": func(t testing.TB) frozenAt {
			l := startLookupAnswer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithLookupd(l.URL)}, func() bool { return l.polls.Load() > 0 }}
		},
		"lookup interval": func(t testing.TB) frozenAt {
			l := startLookupAnswer(t, naming())
			return frozenAt{[]nsqx.ConsumerOption{nsqx.WithLookupd(l.URL)}, func() bool { return l.polls.Load() > 0 }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				f := freeze(t)
				c := newConsumer(t, func(context.Context, string) error { return nil }, f.opts...)
				r := start(t, c)
				eventually(t, f.reached, "the consumer to come that far")
				stopsWithin(t, r, 250*time.Millisecond+slack)
			})
		})
	}
}

// TestShutdownTimedOutS9: all handlers hang, and their messages have timed out in nsqd. The error
// names them, and no answer is sent.
func TestShutdownTimedOutS9(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const n, concurrency = 30, 4
		s := testnsqd.Start(t, messageTimeout(300*time.Millisecond))
		p := testnsqd.StartProxy(t, s.Addr())
		g, w := newGated(t), new(watch)
		c := newConsumer(t, g.handle, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(concurrency), nsqx.WithMaxInFlight(8),
			nsqx.WithShutdownTimeout(50*time.Millisecond), nsqx.WithHooks(w.hooks()))
		publish(t, s, topic, numbered("m", n)...)
		r := start(t, c)
		for range concurrency {
			receive(t, g.began, "handlers")
		}
		eventually(t, func() bool { return s.Channel(topic, channel).TimedOut >= concurrency }, "message timeouts")
		began := time.Now()
		err := r.stop()
		if took := time.Since(began); took > 50*time.Millisecond+2*time.Second+slack {
			t.Errorf("Run returned after %v", took)
		}
		e, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || e.Running != concurrency || len(e.Abandoned) != concurrency || len(e.Unconfirmed) > 0 {
			t.Fatalf("Run: %v", err)
		}
		for _, a := range e.Abandoned {
			if a.Requeued {
				t.Errorf("%+v was requeued after its message timeout", a)
			}
		}
		close(g.gate)
		collect(t, s, topic, channel, n)
		if len(w.events(&w.refused)) > 0 || c.Stats().Finished > 0 {
			t.Errorf("refused %v, stats %+v", w.events(&w.refused), c.Stats())
		}
	})
}

// TestShutdownOverBoundS9: nsqd sends more than RDY. Each message is answered once, including those
// whose handlers hang.
func TestShutdownOverBoundS9(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const n, concurrency, maxInFlight = 30, 4, 8 // above 2 × 8 + 1 messages are requeued
		answers := make(chan []fake.Command, 1)
		addr := fake.Listen(t, func(p *fake.Peer) {
			p.Subscribe(nil)
			p.Expect("RDY")
			for i := range n {
				p.Message(fake.ID(uint64(i)), 1, []byte("m"))
			}
			for cmd, err := p.Next(); err == nil; cmd, err = p.Next() {
				if cmd.Name == "CLS" {
					p.Response("CLOSE_WAIT")
				}
			}
			answers <- p.Log
		})
		g := newGated(t)
		c := newConsumer(t, g.handle, nsqx.WithNSQD(addr), nsqx.WithConcurrency(concurrency), nsqx.WithMaxInFlight(maxInFlight),
			nsqx.WithShutdownTimeout(50*time.Millisecond))
		r := start(t, c)
		eventually(t, func() bool { return c.Stats().Connections[0].Received == n }, "all messages")
		eventually(t, func() bool { return c.Stats().Running == concurrency }, "handlers that hang")
		st := c.Stats()
		if held := st.Running + st.Queued; held > concurrency+2*maxInFlight+1 {
			t.Errorf("%d messages are held", held)
		}
		err := r.stop()
		e, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || e.Running != concurrency || len(e.Abandoned) != concurrency || len(e.Unconfirmed) > 0 {
			t.Errorf("Run: %v", err)
		}
		close(g.gate)
		requeued := make(map[string]int)
		for _, cmd := range receive(t, answers, "the commands") {
			switch cmd.Name {
			case "REQ":
				requeued[cmd.Params[0]]++
			case "FIN":
				t.Errorf("%s", cmd)
			}
		}
		for id, times := range requeued {
			if times != 1 {
				t.Errorf("%s was requeued %d times", id, times)
			}
		}
		if len(requeued) != n {
			t.Errorf("%d of %d messages were requeued", len(requeued), n)
		}
	})
}

// TestShutdownFrozenPeerS10: nsqd is silent. The shutdown keeps its deadline and reports
// unconfirmed answers.
func TestShutdownFrozenPeerS10(t *testing.T) {
	t.Parallel()
	for name, busy := range map[string]bool{"idle": false, "busy": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				const timeout = 300 * time.Millisecond
				s := testnsqd.Start(t)
				p := testnsqd.StartProxy(t, s.Addr())
				g := newGated(t)
				c := newConsumer(t, func(ctx context.Context, body string) error {
					g.began <- body
					<-ctx.Done()
					return ctx.Err()
				}, nsqx.WithNSQD(p.Addr()), nsqx.WithShutdownTimeout(timeout))
				r := start(t, c)
				receive(t, c.Ready(), "Ready")
				if busy {
					publish(t, s, topic, []byte("m"))
					receive(t, g.began, "the handler")
				}
				p.Freeze(testnsqd.ToServer)
				p.Freeze(testnsqd.ToClient)
				began := time.Now()
				err := r.stop()
				if took := time.Since(began); took > timeout+2*time.Second+slack {
					t.Errorf("Run returned after %v", took)
				}
				e, ok := errors.AsType[*nsqx.ShutdownError](err)
				if !ok || len(e.Unconfirmed) != 1 || len(e.Abandoned) > 0 || e.Running > 0 {
					t.Fatalf("Run: %v", err)
				}
				if ce, ok := errors.AsType[*conn.Error](e.Unconfirmed[0]); !ok || ce.Addr != p.Addr() {
					t.Errorf("unconfirmed: %v", e.Unconfirmed[0])
				}
			})
		})
	}
}

// TestShutdownMeetsRestartS11: nsqd restarts during the drain. It is not dialled again, answers to
// its earlier messages are dropped, and nsqd keeps the messages.
func TestShutdownMeetsRestartS11(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const running = 4
		s := testnsqd.Start(t)
		p := testnsqd.StartProxy(t, s.Addr())
		g := newGated(t)
		c := newConsumer(t, g.handle, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(running), nsqx.WithMaxInFlight(running))
		publish(t, s, topic, numbered("m", 10)...)
		r := start(t, c)
		for range running {
			receive(t, g.began, "handlers")
		}
		r.cancel()
		eventually(t, func() bool { return c.Healthy() == nsqx.ErrNotRunning }, "the drain")
		s.QuiescedRestart(p)
		close(g.gate)
		if err := r.stop(); err != nil {
			if e, ok := errors.AsType[*nsqx.ShutdownError](err); !ok || len(e.Abandoned) > 0 || e.Running > 0 {
				t.Errorf("Run: %v", err)
			}
		}
		if st := c.Stats(); st.Lost != running || st.Finished > 0 || p.Accepted() != 1 || st.Connections[0].Dials != 1 {
			t.Errorf("stats %+v, %d dials", st, p.Accepted())
		}
		collect(t, s, topic, channel, 10)
	})
}

// TestShutdownCLSS12: nsqd answers CLS late, never, with an error, or by closing the connection.
func TestShutdownCLSS12(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	for name, tt := range map[string]struct {
		answer func(p *fake.Peer)
		proven bool // the end of the connection confirms all answers
	}{
		"late": {func(p *fake.Peer) {
			time.Sleep(timeout / 2)
			p.Response("CLOSE_WAIT")
			p.HalfClosed()
		}, true},
		"never": {func(p *fake.Peer) { p.HalfClosed() }, true},
		"never, and no end": {func(p *fake.Peer) {
			p.HalfClosed()
			_ = p.Conn.(*net.TCPConn).SetLinger(0)
			_, _ = p.Conn.Read(make([]byte, 1))
			time.Sleep(3 * time.Second) // longer than a client waits
		}, false},
		"with an error":     {func(p *fake.Peer) { p.Error("E_INVALID cannot CLS in current state"); p.Close() }, false},
		"with a connection": {func(p *fake.Peer) { p.Reset() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				addr := fake.Listen(t, func(p *fake.Peer) {
					p.Subscribe(nil)
					p.Expect("RDY")
					p.Expect("CLS")
					tt.answer(p)
				})
				c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithNSQD(addr), nsqx.WithShutdownTimeout(timeout))
				r := start(t, c)
				eventually(t, func() bool { return c.Stats().Connections[0].RDY > 0 }, "RDY")
				began := time.Now()
				err := r.stop()
				if took := time.Since(began); took > timeout+2*time.Second+slack {
					t.Errorf("Run returned after %v", took)
				}
				e, ok := errors.AsType[*nsqx.ShutdownError](err)
				if tt.proven != (err == nil) || err != nil && (!ok || len(e.Unconfirmed) != 1) {
					t.Errorf("Run: %v", err)
				}
				if st := c.Stats(); st.Connections[0].Dials != 1 {
					t.Errorf("connection %+v", st.Connections[0])
				}
			})
		})
	}
}

// TestOrphans: a connection is cut, and the handlers of its messages ignore it. Their contexts end,
// the next connection does not wait for them, their late results are dropped, and Run returns while
// the last one still runs.
func TestOrphans(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const timeout = 50 * time.Millisecond
		s := testnsqd.Start(t, messageTimeout(time.Second))
		p := testnsqd.StartProxy(t, s.Addr())
		fins := commands(p, "FIN ")
		book, w := newLedger(), new(watch)
		running, causes := make(chan struct{}, 2), make(chan error, 2)
		early, late := make(chan struct{}), make(chan struct{})
		c := newConsumer(t, func(ctx context.Context, body string) error {
			if handler.FromContext(ctx).Attempts > 1 || body == "other" {
				return handles(book)(ctx, body)
			}
			running <- struct{}{}
			if body == "early" {
				await(t, early)
			} else {
				await(t, late)
			}
			causes <- context.Cause(ctx)
			return nil
		}, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(3), nsqx.WithHooks(w.hooks()), nsqx.WithShutdownTimeout(timeout))
		publish(t, s, topic, []byte("early"), []byte("late"))
		r := start(t, c)
		for range 2 {
			receive(t, running, "two handlers")
		}
		p.Cut()
		w.connected(t, 2)
		publish(t, s, topic, []byte("other"))
		finished(t, s, c, 3) // by the one free worker
		if c.Stats().Running < 2 {
			t.Errorf("stats %+v", c.Stats())
		}
		before := fins.Load()
		close(early)
		if cause := receive(t, causes, "the early one to return"); cause != handler.ErrConnLost {
			t.Errorf("context ended with cause %v", cause)
		}
		eventually(t, func() bool { return c.Stats().Lost == 1 }, "its result to be dropped")
		began := time.Now()
		err := r.stop()
		if took := time.Since(began); took > timeout+2*time.Second+slack {
			t.Errorf("Run returned after %v", took)
		}
		e, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || e.Running != 1 || len(e.Abandoned) != 1 || e.Abandoned[0].Requeued || len(e.Unconfirmed) > 0 {
			t.Errorf("Run: %v", err)
		}
		close(late)
		if cause := receive(t, causes, "the late one to return"); cause != handler.ErrConnLost {
			t.Errorf("context ended with cause %v", cause)
		}
		if !settles(func() bool { return c.Stats().Running == 0 }) || fins.Load() != before {
			t.Errorf("%d FINs more, stats %+v", fins.Load()-before, c.Stats())
		}
		if st := s.Channel(topic, channel); st.Messages != 3 || st.Unfinished() > 0 {
			t.Errorf("nsqd says %+v", st)
		}
	})
}
