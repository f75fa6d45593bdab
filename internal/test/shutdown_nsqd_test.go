package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestShutdownCLS: whatever nsqd answers to CLS, the shutdown continues, and messages that still
// arrive are requeued.
func TestShutdownCLS(t *testing.T) {
	bubble(t, "answered late", func(t *testing.T) {
		n := newNSQDs(t)
		n.on = onCLS(func(l *line) {
			time.AfterFunc(1500*time.Millisecond, func() {
				l.send(1)
				l.say("CLOSE_WAIT")
			})
			time.AfterFunc(1505*time.Millisecond, func() { l.send(2) })
		})
		s := n.run(done)
		l := n.line(nsqd1)
		s.wantStop(1500*time.Millisecond + closeTime)
		l.wantAnswers("1.5s REQ 1 0", "1.505s REQ 2 0")
		want(t, "half-closed", l.halfClosed(), true)
	})
	bubble(t, "answered while handlers run", func(t *testing.T) {
		n := newNSQDs(t)
		n.on = onCLS(func(l *line) { time.AfterFunc(4*time.Second, func() { l.say("CLOSE_WAIT") }) })
		s := n.run(sleeps(5*time.Second, nil))
		l := n.line(nsqd1)
		l.send(1)
		synctest.Wait()
		s.wantStop(5*time.Second + closeTime)
	})
	for d, after := range map[time.Duration]time.Duration{0: 250 * time.Millisecond, time.Second: 1250 * time.Millisecond, time.Minute: 2250 * time.Millisecond} {
		bubble(t, fmt.Sprint("not answered, ", d), func(t *testing.T) {
			n := newNSQDs(t)
			n.on = onCLS(func(l *line) { time.AfterFunc(after-time.Millisecond, func() { l.send(1) }) })
			s := n.run(done, timeout(d))
			l := n.line(nsqd1)
			s.wantStop(after) // nsqd has read everything, because it closed after the half-close
			want(t, "requeued", len(l.commands("REQ")), 1)
			want(t, "half-closed", l.halfClosed(), true)
		})
	}
	bubble(t, "answered by an error", func(t *testing.T) {
		n := newNSQDs(t)
		n.on = onCLS(func(l *line) { l.fail("E_INVALID cannot CLS in current state"); l.p.Close() })
		s := n.run(sleeps(3*time.Second, nil))
		l := n.line(nsqd1)
		l.send(1)
		synctest.Wait()
		err := s.wantShutdown(3 * time.Second)
		if fault, ok := errors.AsType[*conn.ServerError](err); !ok || fault.Code != "E_INVALID" || len(err.Unconfirmed) != 1 {
			t.Errorf("Run returned %v", err)
		}
		want(t, "lost", s.Stats().Lost, 1)
		want(t, "dials", n.net.Dials(), 1)
	})
	bubble(t, "twice", func(t *testing.T) {
		n := newNSQDs(t)
		n.on = onCLS(func(l *line) { l.say("CLOSE_WAIT"); l.say("CLOSE_WAIT") })
		s := n.run(done)
		n.line(nsqd1)
		s.wantStop(closeTime)
	})
	bubble(t, "not requested", func(t *testing.T) {
		n := newNSQDs(t)
		s := n.run(done)
		l := n.line(nsqd1)
		l.say("CLOSE_WAIT")
		l.send(1)
		l.wantCommands("FIN", "FIN 1")
		s.wantStop(closeTime)
	})
}

// TestShutdownHalfClose: nsqd proves that it has read all answers by closing its side. Without
// that, answers may be lost.
func TestShutdownHalfClose(t *testing.T) {
	bubble(t, "not closed", func(t *testing.T) {
		n := newNSQDs(t, nsqd1, nsqd2)
		n.on = onCLS(func(l *line) {
			l.say("CLOSE_WAIT")
			if l.addr == nsqd1 {
				freeze(l)
			}
		})
		s := n.run(done)
		n.line(nsqd1)
		err := s.wantShutdown(closeTime + 500*time.Millisecond)
		want(t, "unconfirmed", len(err.Unconfirmed), 1)
		wantErr(t, "Run", err, conn.ErrNotConfirmed)
		fault, ok := errors.AsType[*conn.Error](err)
		if !ok || fault.Addr != nsqd1 || fault.Phase != conn.PhaseClose {
			t.Errorf("Run returned %v", err)
		}
		want(t, "a missed deadline", errors.Is(err, context.DeadlineExceeded), false)
		want(t, "last error", s.Stats().Connections[0].LastErr, error(fault))
	})
	bubble(t, "closed slowly", func(t *testing.T) {
		n := newNSQDs(t)
		n.on = onCLS(func(l *line) {
			l.say("CLOSE_WAIT")
			time.Sleep(400 * time.Millisecond)
		})
		s := n.run(done)
		n.line(nsqd1)
		s.wantStop(400 * time.Millisecond)
	})
	bubble(t, "reset", func(t *testing.T) {
		n := newNSQDs(t)
		n.on = onCLS(func(l *line) {
			l.say("CLOSE_WAIT")
			time.Sleep(200 * time.Millisecond)
			l.p.Reset()
		})
		s := n.run(done)
		n.line(nsqd1)
		err := s.wantShutdown(200 * time.Millisecond)
		want(t, "unconfirmed", len(err.Unconfirmed), 1)
	})
}

// TestShutdownDeadline: Run returns within the shutdown timeout plus two seconds, whatever nsqd and
// handlers do.
func TestShutdownDeadline(t *testing.T) {
	handlers := map[string]handler.Func[string]{
		"quick":     sleeps(0, nil),
		"honouring": waitsForContext(errBill),
		"late": func(ctx context.Context, _ string) error {
			<-ctx.Done()
			time.Sleep(999 * time.Millisecond)
			return nil
		},
		"hanging":   sleeps(time.Hour, nil),
		"giving up": alwaysFails,
	}
	peers := map[string]func(*line, fake.Command) bool{
		"good":              nil,
		"silent about CLS":  onCLS(func(*line) {}),
		"frozen at CLS":     onCLS(freeze),
		"frozen afterwards": onCLS(func(l *line) { l.say("CLOSE_WAIT"); freeze(l) }),
		"frozen at once":    func(l *line, cmd fake.Command) bool { freezeAt(l, cmd, "RDY"); return false },
		"frozen at PUB":     func(l *line, cmd fake.Command) bool { freezeAt(l, cmd, "PUB"); return cmd.Name == "PUB" },
		"frozen everywhere": func(l *line, cmd fake.Command) bool {
			freezeAt(l, cmd, "PUB")
			freezeAt(l, cmd, "CLS")
			return cmd.Name == "PUB" || cmd.Name == "CLS"
		},
		"closing at CLS":    onCLS(func(l *line) { l.p.Close() }),
		"closing later":     onCLS(func(l *line) { time.AfterFunc(700*time.Millisecond, l.p.Close) }),
		"resetting at CLS":  onCLS(func(l *line) { l.p.Reset() }),
		"sending after CLS": onCLS(func(l *line) { l.say("CLOSE_WAIT"); l.flood(100, 100) }),
	}
	for way, handle := range handlers {
		for kind, on := range peers {
			for _, d := range []time.Duration{0, 100 * time.Millisecond, 5 * time.Second, 30 * time.Second} {
				bubble(t, fmt.Sprint(way, ", ", kind, ", ", d), func(t *testing.T) {
					n := newNSQDs(t, nsqd1, nsqd2)
					n.on = on
					ev := &events{}
					s := n.run(handle, timeout(d), dead, nsqx.WithConcurrency(3), nsqx.WithMaxInFlight(8), nsqx.WithHooks(ev.hooks()))
					for _, addr := range n.addrs {
						l := n.line(addr)
						l.p.Client.SetBuffer(64)
						l.send(1, 2, 3)
					}
					synctest.Wait()
					took, err := s.stop()
					if took > d+2*time.Second {
						t.Errorf("Run returned after %v", took)
					}
					shutdown, _ := err.(*nsqx.ShutdownError)
					if err != nil && shutdown == nil {
						t.Errorf("Run returned %v", err)
					}
					running := s.Stats().Running
					if shutdown != nil && shutdown.Running != running || shutdown == nil && running > 0 {
						t.Errorf("%d handlers run, Run returned %v", running, err)
					}
					if names := ev.names(); names != "connect, connect, disconnect, disconnect" {
						t.Errorf("events %q", names)
					}
					for _, addr := range n.addrs {
						for _, sub := range []bool{true, false} {
							for _, l := range n.all(addr, sub) {
								if _, err := l.p.Client.Write(nil); !errors.Is(err, net.ErrClosed) {
									t.Errorf("a connection to %s is open: %v", addr, err)
								}
							}
						}
					}
					time.Sleep(2 * time.Hour)
				})
			}
		}
	}
}

// TestShutdownRaces: every received message is answered once, wherever it was when the shutdown
// began.
func TestShutdownRaces(t *testing.T) {
	for i := range 200 {
		bubble(t, "", func(t *testing.T) {
			n := newNSQDs(t, nsqd1, nsqd2)
			var s *service
			ready := make(chan struct{})
			var handled atomic.Int64
			s = n.run(func(ctx context.Context, _ string) error {
				<-ready
				if handled.Add(1) == int64(i%70) {
					go s.cancel()
				}
				if i%3 == 0 {
					runtime.Gosched()
				}
				return ctx.Err()
			}, timeout(time.Duration(i%2)*time.Second), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(64))
			close(ready)
			for _, addr := range n.addrs {
				n.line(addr).flood(1, 32)
			}
			if i%70 == 0 {
				go s.cancel()
			}
			synctest.Wait()
			if took, _ := s.stop(); took > closeTime {
				t.Errorf("Run returned after %v", took)
			}
			for _, addr := range n.addrs {
				answers := map[string]int{}
				for _, e := range n.line(addr).entries("FIN", "REQ") {
					answers[strings.Fields(e.cmd)[1]]++
				}
				for id, times := range answers {
					if times > 1 {
						t.Errorf("%s was answered %d times", id, times)
					}
				}
				want(t, "answered", len(answers), 32)
			}
			want(t, "running", s.Stats().Running, 0)
		})
	}
}

// TestUnanswered: a message that comes too late to be requeued is reported by its id.
func TestUnanswered(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = onCLS(func(l *line) {
			l.say("CLOSE_WAIT")
			time.AfterFunc(closeTime+time.Millisecond, func() { l.send(7) })
			time.Sleep(100 * time.Millisecond) // delays reading the half-close
		})
		s := d.run(done)
		synctest.Wait()
		_, err := s.stop()
		e, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || len(e.Unanswered) != 1 || e.Unanswered[0].ID.String() != fake.ID(7) || e.Unanswered[0].Requeued {
			t.Fatalf("Run returned %v, want message %s unanswered", err, fake.ID(7))
		}
		want(t, "text", err.Error(),
			"nsqx: shutdown incomplete; 1 messages of orders/billing came too late to be given back, 0000000000000007@nsqd-1:4150")
	})
}

// TestNoRDYAfterCLS: RDY never follows CLS, with a backlog, messages that finish and settings that
// change during the shutdown.
func TestNoRDYAfterCLS(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3, nsqxtest.WithMaxInFlightCheck(30, time.Millisecond))
		var g gauge
		c, stop := consume(t, servers, g.handler(700*time.Millisecond), nsqx.WithConcurrency(10), nsqx.WithMaxInFlight(30))
		for _, s := range servers {
			publish(s, 100)
		}
		time.Sleep(3 * time.Second)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			stop()
		}()
		time.Sleep(time.Millisecond)
		runs := g.runs.Load()
		_, _, _ = c.SetMaxInFlight(15), c.SetConcurrency(20), c.SetMaxInFlight(30)
		c.Pause()
		c.Resume()
		<-ended
		want(t, "runs during shutdown", g.runs.Load(), runs)
		for _, s := range servers {
			want(t, "RDYs after CLS", afterCLS(s), 0)
			want(t, "in flight", billing(s).InFlight, 0)
			want(t, "timeouts", billing(s).TimedOut, 0)
		}
	})
}
