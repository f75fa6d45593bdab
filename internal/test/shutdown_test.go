package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/observe"
)

// TestShutdownIdle: an idle consumer sends CLS and half-closes, whatever the timeout.
func TestShutdownIdle(t *testing.T) {
	for _, d := range []time.Duration{0, time.Second, time.Hour} {
		bubble(t, d.String(), func(t *testing.T) {
			n := newNSQDs(t, nsqd1, nsqd2)
			s := n.run(done, timeout(d))
			l := n.line(nsqd1)
			s.wantStop(closeTime)
			for _, l := range []*line{l, n.line(nsqd2)} {
				cmds := l.commands()
				want(t, "last command", cmds[len(cmds)-1], "CLS")
				want(t, "half-closed", l.halfClosed(), true)
			}
			want(t, "dials", n.net.Dials(), 2)
			for _, c := range s.Stats().Connections {
				want(t, "connected", c.Connected, false)
				wantErr(t, "last error", c.LastErr, nil)
			}
		})
	}
}

// TestShutdownBusy: running handlers finish; waiting messages and later ones are requeued at once.
func TestShutdownBusy(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		var started synced[string]
		s := n.run(func(ctx context.Context, body string) error {
			started.add(body)
			time.Sleep(5 * time.Second)
			wantErr(t, "the handler's context", ctx.Err(), nil)
			return nil
		}, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(6))
		l := n.line(nsqd1)
		l.send(1, 2, 3, 4, 5)
		synctest.Wait()
		s.cancel()
		synctest.Wait()
		waited := l.entries("REQ")
		want(t, "requeued", len(waited), 3)
		time.Sleep(time.Second)
		l.send(6, 7) // nsqd had already sent them
		l.wantCommands("CLS REQ", "CLS, REQ 3 0, REQ 4 0, REQ 5 0, REQ 6 0, REQ 7 0")
		s.wantStop(5*time.Second + closeTime)
		for i, e := range l.entries("REQ", "FIN") {
			want(t, short(e.cmd)+" at", e.at, []time.Duration{0, 0, 0, time.Second, time.Second, 5 * time.Second, 5 * time.Second}[i])
		}
		want(t, "started", len(started.all()), 2)
		want(t, "half-closed", l.halfClosed(), true)
		stats := s.Stats()
		want(t, "finished", stats.Finished, 2)
		want(t, "interrupted", stats.Interrupted, 5)
		want(t, "received", stats.Connections[0].Received, 7)
		want(t, "in flight", stats.Connections[0].InFlight, 0)
		want(t, "connections", n.net.Dials(), 1)
	})
}

// TestShutdownPrefetched: another consumer gets waiting messages at once, whatever the running
// handler does.
func TestShutdownPrefetched(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		s := n.run(sleeps(15*time.Second, nil), nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(200))
		l := n.line(nsqd1)
		l.flood(1, 200)
		synctest.Wait()
		s.cancel()
		requeued := l.entries("REQ")
		want(t, "requeued", len(requeued), 199)
		for _, e := range requeued {
			if e.at != 0 || !strings.HasSuffix(e.cmd, " 0") {
				t.Fatalf("heard %q after %v", e.cmd, e.at)
			}
		}
		s.wantStop(15*time.Second + closeTime)
		l.wantCommands("FIN", "FIN 1")
	})
}

// TestShutdownInterrupts: the shutdown timeout cancels the context of handlers. Their results still
// count.
func TestShutdownInterrupts(t *testing.T) {
	for name, tt := range map[string]struct {
		answer error
		heard  string
		fate   func(nsqx.Stats) uint64
	}{
		"failed":    {errBill, "4s REQ 1 0", func(s nsqx.Stats) uint64 { return s.Interrupted }},
		"succeeded": {nil, "4s FIN 1", func(s nsqx.Stats) uint64 { return s.Finished }},
	} {
		bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			s := n.run(func(ctx context.Context, _ string) error {
				<-ctx.Done()
				want(t, "cause", context.Cause(ctx), handler.ErrShutdown)
				want(t, "after", n.since(), 3*time.Second)
				wantErr(t, "context", ctx.Err(), context.Canceled)
				time.Sleep(time.Second - 1)
				return tt.answer
			}, timeout(3*time.Second))
			l := n.line(nsqd1)
			l.send(1)
			synctest.Wait()
			s.wantStop(4*time.Second - 1 + closeTime)
			l.wantAnswers(strings.Replace(tt.heard, "4s", "3.999999999s", 1))
			want(t, "counted", tt.fate(s.Stats()), 1)
		})
	}
}

// TestShutdownAbandons: the message of a handler that ignores its context is requeued, and the late
// result changes nothing.
func TestShutdownAbandons(t *testing.T) {
	for name, answer := range map[string]error{"succeeds": nil, "fails": errBill} {
		bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t, nsqd1, nsqd2)
			s := n.run(func(ctx context.Context, body string) error {
				if body == "quick" {
					return waitsForContext(nil)(ctx, body)
				}
				return sleeps(time.Hour, answer)(ctx, body)
			}, timeout(3*time.Second), nsqx.WithConcurrency(4))
			l := n.line(nsqd1)
			l.sendAs(1, 5, "slow")
			l.sendAs(2, 1, "quick")
			n.line(nsqd2).sendAs(0xabc, 1, "slow")
			synctest.Wait()
			err := s.wantShutdown(4*time.Second + closeTime + lastWait)

			wantErr(t, "Run", err, context.DeadlineExceeded)
			slices.SortFunc(err.Abandoned, func(a, b observe.Abandoned) int { return strings.Compare(a.NSQD, b.NSQD) })
			first, _ := handler.ParseID(fake.ID(1))
			second, _ := handler.ParseID(fake.ID(0xabc))
			if !slices.Equal(err.Abandoned, []observe.Abandoned{
				{NSQD: nsqd1, Topic: "orders", Channel: "billing", ID: first, Attempts: 5, Requeued: true},
				{NSQD: nsqd2, Topic: "orders", Channel: "billing", ID: second, Attempts: 1, Requeued: true},
			}) {
				t.Errorf("abandoned %+v", err.Abandoned)
			}
			want(t, "running", err.Running, 2)
			want(t, "unconfirmed", len(err.Unconfirmed), 0)
			for _, part := range []string{"2 handlers of orders/billing did not return in time", fake.ID(1) + "@" + nsqd1, fake.ID(0xabc) + "@" + nsqd2} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
			l.wantAnswers("3s FIN 2", "4s REQ 1 0")
			n.line(nsqd2).wantAnswers("4s REQ abc 0")
			time.Sleep(time.Hour)
			l.wantAnswers("3s FIN 2", "4s REQ 1 0")
			want(t, "half-closed", l.halfClosed(), true)
			stats := s.Stats()
			want(t, "finished", stats.Finished, 1)
			want(t, "requeued", stats.Requeued, 0)
			want(t, "running", stats.Running, 0)
		})
	}
}

// TestShutdownAtOnce: timeout 0 requeues waiting messages and cancels handlers at once.
func TestShutdownAtOnce(t *testing.T) {
	bubble(t, "honoured", func(t *testing.T) {
		n := newNSQDs(t)
		s := n.run(waitsForContext(nil), timeout(0), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(4))
		l := n.line(nsqd1)
		l.send(1, 2, 3, 4)
		synctest.Wait()
		took, _ := s.stop() // handlers may or may not return in time
		want(t, "took", took, closeTime)
		want(t, "answers", len(l.commands("FIN", "REQ")), 4)
		for _, e := range l.entries("FIN", "REQ") {
			want(t, e.cmd+" at", e.at, 0)
		}
		want(t, "running", s.Stats().Running, 0)
	})
	bubble(t, "ignored", func(t *testing.T) {
		n := newNSQDs(t)
		s := n.run(sleeps(time.Hour, nil), timeout(0), nsqx.WithConcurrency(1))
		l := n.line(nsqd1)
		l.send(1, 2)
		synctest.Wait()
		err := s.wantShutdown(time.Second + closeTime)
		want(t, "running", err.Running, 1)
		want(t, "abandoned", len(err.Abandoned), 1)
		l.wantAnswers("0s REQ 2 0", "0s REQ 1 0")
		time.Sleep(time.Hour)
	})
}

// TestShutdownTwice: cancelling repeatedly and concurrently is the same as cancelling once.
func TestShutdownTwice(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		s := n.run(sleeps(time.Second, nil))
		l := n.line(nsqd1)
		l.send(1)
		synctest.Wait()
		for range 3 {
			go s.cancel()
		}
		s.wantStop(time.Second + closeTime)
		s.wantStop(time.Second + closeTime)
		l.wantCommands("CLS FIN", "CLS, FIN 1")
	})
}

// TestShutdownSendsNoRDY: whatever happens during a shutdown, no more messages are requested.
func TestShutdownSendsNoRDY(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t, nsqd1, nsqd2)
		s := n.run(sleeps(10*time.Second, nil))
		first, second := n.line(nsqd1), n.line(nsqd2)
		first.send(1)
		synctest.Wait()
		s.cancel()
		time.Sleep(time.Second)
		second.p.Close() // frees its quota
		err := s.wantShutdown(10*time.Second + closeTime)
		want(t, "unconfirmed", len(err.Unconfirmed), 1)
		cmds := first.commands("RDY", "CLS")
		want(t, "last of RDY and CLS", cmds[len(cmds)-1], "CLS")
		want(t, "dials", n.net.Dials(), 2)
		first.wantCommands("FIN", "FIN 1")
	})
}

// TestShutdownOfALostConnection: a lost connection is not redialled, and the results of its
// handlers are ignored.
func TestShutdownOfALostConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		handle handler.Func[string]
		left   int
		took   time.Duration
	}{
		"in time":  {sleeps(2*time.Second, nil), 0, 2 * time.Second},
		"honoured": {waitsForContext(errBill), 0, time.Second},
		"ignored":  {sleeps(time.Hour, nil), 1, 6*time.Second + lastWait},
	} {
		bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			n.on = onCLS(func(*line) {})
			ev := &events{}
			s := n.run(tt.handle, timeout(5*time.Second), nsqx.WithHooks(ev.hooks()))
			l := n.line(nsqd1)
			l.send(1)
			synctest.Wait()
			s.cancel()
			time.Sleep(time.Second)
			l.p.Close()
			err := s.wantShutdown(tt.took)
			want(t, "abandoned", len(err.Abandoned), tt.left)
			want(t, "running", err.Running, tt.left)
			for _, a := range err.Abandoned {
				want(t, "requeued", a.Requeued, false)
			}
			want(t, "unconfirmed", len(err.Unconfirmed), 1)
			want(t, "a missed deadline", errors.Is(err, context.DeadlineExceeded), tt.left > 0)
			if !strings.Contains(err.Error(), nsqd1) {
				t.Errorf("error %q does not name the address", err)
			}
			l.wantAnswers()
			want(t, "events", ev.names(), "connect, disconnect")
			want(t, "dials", n.net.Dials(), 1)
			time.Sleep(time.Hour)
			want(t, "lost", s.Stats().Lost, 1)
		})
	}
}

// TestShutdownTooLate: a message that nsqd may have given to another consumer is not answered.
func TestShutdownTooLate(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		s := n.run(sleeps(time.Hour, errBill), timeout(2*time.Minute))
		l := n.line(nsqd1)
		l.send(1)
		synctest.Wait()
		err := s.wantShutdown(2*time.Minute + time.Second + closeTime + lastWait)
		want(t, "abandoned", len(err.Abandoned), 1)
		want(t, "requeued", err.Abandoned[0].Requeued, false)
		l.wantAnswers()
		time.Sleep(time.Hour)
		l.wantAnswers()
	})
}

// TestShutdownOverTheBound: messages beyond MaxInFlight are requeued as well.
func TestShutdownOverTheBound(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		s := n.run(sleeps(3*time.Second, nil), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(8))
		l := n.line(nsqd1)
		l.flood(1, 30)
		synctest.Wait()
		s.cancel()
		synctest.Wait()
		l.flood(100, 64) // beyond the bound
		want(t, "requeued", len(l.commands("REQ")), 28+64)
		s.wantStop(3*time.Second + closeTime)
		want(t, "finished", len(l.commands("FIN")), 2)
	})
}

// TestShutdownWhileDialling: the shutdown begins in each state of dialling.
func TestShutdownWhileDialling(t *testing.T) {
	hangs := func(n *nsqds) { n.greet = func(*line) bool { time.Sleep(time.Hour); return false } }
	for name, prepare := range map[string]func(*nsqds){
		"refused":   func(n *nsqds) { n.net.Refuse(errOther) },
		"dialling":  func(n *nsqds) { n.config.DialContext = dialHangs },
		"handshake": hangs,
		"auth": func(n *nsqds) {
			n.identify = map[string]any{"auth_required": true}
			n.config.AllowPlaintextAuth = true
			n.config.AuthSecret = func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		},
		"subscribing": func(n *nsqds) { n.on = func(*line, fake.Command) bool { return true } },
	} {
		for _, after := range []time.Duration{0, 50 * time.Millisecond, 4 * time.Second, 10 * time.Second, time.Minute} {
			bubble(t, fmt.Sprint(name, " ", after), func(t *testing.T) {
				n := newNSQDs(t)
				prepare(n)
				ev := &events{}
				s := n.run(done, nsqx.WithHooks(ev.hooks()))
				time.Sleep(after)
				synctest.Wait()
				dials := s.Stats().Connections[0].Dials
				s.wantStop(0)
				want(t, "dials since", s.Stats().Connections[0].Dials-dials, 0)
				for _, ev := range ev.all() {
					want(t, "event", ev.what, "dial error")
				}
			})
		}
	}
}

// TestShutdownBeforeAttach: the shutdown begins after the handshake, before the consumer knows the
// connection.
func TestShutdownBeforeAttach(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		ctx, cancel := context.WithCancel(context.Background())
		tracked := &trackedContext{Context: ctx, stopped: func(n int) {
			if n == 2 { // 1 is the dial, 2 the handshake
				cancel()
				time.Sleep(100 * time.Millisecond)
			}
		}}
		ev := &events{}
		c := n.consumer(done, nsqx.WithHooks(ev.hooks()))
		wantErr(t, "Run", c.Run(tracked), nil)
		want(t, "took", n.since(), 100*time.Millisecond)
		want(t, "events", ev.names(), "")
		n.line(nsqd1).wantCommands("", "SUB orders billing")
	})
}

// TestShutdownMeetsNewConnection: the connection subscribes just when the shutdown begins.
func TestShutdownMeetsNewConnection(t *testing.T) {
	for i := range 300 {
		bubble(t, "", func(t *testing.T) {
			n := newNSQDs(t)
			var s *service
			ready := make(chan struct{})
			n.on = func(l *line, cmd fake.Command) bool {
				if cmd.Name != "SUB" {
					return false
				}
				<-ready
				if i%2 == 0 {
					l.say("OK")
					s.cancel()
				} else {
					go s.cancel()
					l.say("OK")
				}
				return true
			}
			ev := &events{}
			s = n.run(done, nsqx.WithHooks(ev.hooks()))
			close(ready)
			<-s.done
			if s.err != nil || s.took > closeTime {
				t.Errorf("Run returned %v after %v", s.err, s.took)
			}
			if names := ev.names(); names != "" && names != "connect, disconnect" {
				t.Errorf("events %q", names)
			}
			want(t, "dials", n.net.Dials(), 1)
		})
	}
}
