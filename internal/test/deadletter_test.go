package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestDeadLetterIsConfirmedFirst: FIN follows the OK of the dead letter. TOUCH extends the message
// timeout meanwhile.
func TestDeadLetterIsConfirmedFirst(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = onPUB(map[string]func(*line){nsqd1: sayAfter(25*time.Second, "OK")})
		s := d.run(func(ctx context.Context, body string) error {
			time.Sleep(58 * time.Second)
			return alwaysFails(ctx, body)
		}, dead)
		l := d.line(nsqd1)
		l.sendAs(1, 1, "the body")
		time.Sleep(time.Hour)
		l.wantAnswers("58s TOUCH 1", "1m18s TOUCH 1", "1m23s FIN 1")
		letter := d.publisher(nsqd1).entries("PUB")[0]
		want(t, "dead letter", entry{letter.at, letter.cmd, letter.payload()}, entry{58 * time.Second, "PUB dead", "the body"})
		want(t, "counted", s.Stats().DeadLettered, 1)
		s.wantStop(closeTime)
	})
}

// TestDeadLetterClientID: nsqd can tell a connection for dead letters from the consumer's.
func TestDeadLetterClientID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		consume(t, []*nsqxtest.Server{s}, alwaysFails, dead, nsqx.WithMaxAttempts(1), nsqx.WithConn(conn.Config{ClientID: "billing-1"}))
		s.Publish("orders", []byte("x"))
		s.Await("orders", "billing", finished(1))
		var ids []string
		for _, c := range s.Conns() {
			ids = append(ids, fmt.Sprint(c.Identify()["client_id"]))
		}
		want(t, "client ids", strings.Join(ids, " "), "billing-1 billing-1/dead-letters")
	})
}

// TestDeadLetterNotConfirmed: a dead letter that is not confirmed never leads to FIN.
func TestDeadLetterNotConfirmed(t *testing.T) {
	wrong := func(l *line) { l.say("NO") }
	tests := map[string]struct {
		answer func(*line)
		want   []string
	}{
		"no answer":    {neverAnswer, []string{"0s TOUCH 1", "20s TOUCH 1", "30s REQ 1 2000"}},
		"refused":      {refusePublish, []string{"0s TOUCH 1", "0s REQ 1 2000"}},
		"lost":         {func(l *line) { l.p.Close() }, []string{"0s TOUCH 1", "0s REQ 1 2000"}},
		"wrong answer": {wrong, []string{"0s TOUCH 1", "0s REQ 1 2000"}},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			d := newNSQDs(t)
			d.on = onPUB(map[string]func(*line){nsqd1: tt.answer})
			settled := &settleEvents{}
			s := d.run(alwaysFails, dead, nsqx.WithRetry(seconds), nsqx.WithHooks(settled.hooks()))
			l := d.line(nsqd1)
			l.sendAs(1, 2, "x")
			time.Sleep(time.Minute)
			l.wantAnswers(tt.want...)
			text := "dead letter not confirmed, nsqd may have it"
			if name == "refused" {
				text = "dead letter not published"
			}
			want(t, "logged", d.log.count(slog.LevelError, text), 1)
			out := settled.all()[0].out
			if out.Disposition != handler.Requeue || out.Delay != 2*time.Second || !errors.Is(out.Err, errBill) {
				t.Errorf("outcome is %+v", out)
			}
			if _, ok := errors.AsType[*conn.ServerError](out.Err); ok != (name == "refused") {
				t.Errorf("the outcome's error is %v", out.Err)
			}
			want(t, "counted as requeued", s.Stats().Requeued, 1)
			want(t, "counted as dead", s.Stats().DeadLettered, 0)
			s.wantStop(closeTime)
		})
	}
}

// TestDeadLetterPolicyStops: a dead letter that failed is requeued even if the policy stops.
func TestDeadLetterPolicyStops(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = onPUB(map[string]func(*line){nsqd1: refusePublish})
		s := d.run(func(context.Context, string) error { return errBill }, dead, nsqx.WithRetry(retry.Schedule(retry.Stop)))
		l := d.line(nsqd1)
		l.send(1)
		l.wantAnswers("0s TOUCH 1", "0s REQ 1 10000")
		s.wantStop(closeTime)
	})
}

// TestDeadLetterElsewhere: another nsqd gets the dead letter if the one that delivered the message
// does not take it.
func TestDeadLetterElsewhere(t *testing.T) {
	for name, answer := range map[string]func(*line){"refused": refusePublish, "lost": func(l *line) { l.p.Close() }} {
		bubble(t, name, func(t *testing.T) {
			d := newNSQDs(t, nsqd1, nsqd2, nsqd3)
			d.on = onPUB(map[string]func(*line){nsqd2: answer, nsqd1: answer})
			s := d.run(alwaysFails, dead)
			l := d.line(nsqd2)
			l.send(7)
			l.wantAnswers("0s TOUCH 7", "0s FIN 7")
			want(t, "tried at nsqd 2", len(d.publisher(nsqd2).entries("PUB")), 1)
			want(t, "tried at nsqd 1", len(d.publisher(nsqd1).entries("PUB")), 1)
			want(t, "dead letter", d.publisher(nsqd3).entries("PUB")[0].payload(), fake.ID(7))
			s.wantStop(closeTime)
		})
	}
	bubble(t, "no connection", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		dials := 0
		d.config.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == nsqd1 {
				if dials++; dials > 1 {
					return nil, errOther
				}
			}
			return d.net.DialContext(ctx, network, addr)
		}
		s := d.run(alwaysFails, dead)
		l := d.line(nsqd1)
		l.send(7)
		l.wantAnswers("0s TOUCH 7", "0s FIN 7")
		want(t, "dead letter", d.publisher(nsqd2).entries("PUB")[0].payload(), fake.ID(7))
		l.send(8)
		l.wantAnswers("0s TOUCH 7", "0s FIN 7", "0s TOUCH 8", "0s FIN 8")
		want(t, "dials to nsqd 1", dials, 2) // not again for a while
		want(t, "connections to publish to nsqd 2", len(d.all(nsqd2, false)), 1)
		s.wantStop(closeTime)
	})
}

// TestDeadLetterBody: a dead letter has the body that nsqd delivered, not the one that middleware
// made of it.
func TestDeadLetterBody(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		decrypt := func(next handler.Raw) handler.Raw {
			return func(ctx context.Context, m *handler.Message) error { return next(ctx, m.WithBody([]byte("clear"))) }
		}
		d := newNSQDs(t)
		s := d.run(func(ctx context.Context, body string) error {
			want(t, "handled", body, "clear")
			return alwaysFails(ctx, body)
		}, dead, nsqx.WithMiddleware(decrypt))
		d.line(nsqd1).sendAs(1, 1, "secret")
		want(t, "dead letter", d.publisher(nsqd1).entries("PUB")[0].payload(), "secret")
		s.wantStop(closeTime)
	})
}

// TestConnectionLostDuringDeadLetter: the dead letter is published once, and nothing is answered on
// another connection.
func TestConnectionLostDuringDeadLetter(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = onPUB(map[string]func(*line){nsqd1: sayAfter(5*time.Second, "OK")})
		s := d.run(alwaysFails, dead)
		l := d.line(nsqd1)
		l.send(1)
		time.Sleep(time.Second)
		l.p.Close()
		time.Sleep(time.Minute)
		l.wantAnswers("0s TOUCH 1")
		again := d.line(nsqd1)
		want(t, "dials", again.n, 3)
		again.wantAnswers()
		want(t, "publishes", len(d.publisher(nsqd1).entries("PUB")), 1)
		want(t, "counted as lost", s.Stats().Lost, 1)
		want(t, "counted as dead", s.Stats().DeadLettered, 0)
		s.wantStop(closeTime)
	})
}

// TestDeadLettersShareAConnection: one connection to an nsqd is opened for the first dead letter,
// and half-closed when it has been idle for 30 s to 60 s.
func TestDeadLettersShareAConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		s := d.run(alwaysFails, dead, nsqx.WithConcurrency(8))
		l := d.line(nsqd1)
		want(t, "connections before", len(d.all(nsqd1, false)), 0)
		l.send(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		want(t, "connections", len(d.all(nsqd1, false)), 1)
		first := d.publisher(nsqd1)
		want(t, "publishes", first.published(), 10)

		time.Sleep(29 * time.Second)
		l.send(11)
		time.Sleep(31*time.Second - 1)
		want(t, "ended too early", first.halfClosed(), false)
		time.Sleep(time.Nanosecond) // a minute after it was opened
		want(t, "half-closed", first.halfClosed(), true)
		want(t, "publishes", first.published(), 11)

		l.send(12)
		want(t, "connections", len(d.all(nsqd1, false)), 2)
		second := d.publisher(nsqd1)
		second.p.Close() // nsqd restarts
		synctest.Wait()
		l.send(13)
		want(t, "connections", len(d.all(nsqd1, false)), 3)
		want(t, "dead letters", s.Stats().DeadLettered, 13)
		s.wantStop(closeTime)
		want(t, "half-closed", d.publisher(nsqd1).halfClosed(), true)
	})
}

// TestDeadLetterTimeout: if one nsqd uses up all the time, no other one is tried.
func TestDeadLetterTimeout(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		d.on = onPUB(map[string]func(*line){nsqd1: neverAnswer})
		s := d.run(alwaysFails, dead, nsqx.WithRetry(seconds))
		l := d.line(nsqd1)
		l.send(1)
		time.Sleep(time.Minute)
		l.wantAnswers("0s TOUCH 1", "20s TOUCH 1", "30s REQ 1 1000")
		want(t, "connections to publish to nsqd 2", len(d.all(nsqd2, false)), 0)
		s.wantStop(closeTime)
	})
}

// TestDeadLetterOnIdleConnection: a dead letter at the moment at which its idle connection is
// closed uses this connection or a new one, and does not fail.
func TestDeadLetterOnIdleConnection(t *testing.T) {
	for range 100 {
		bubble(t, "", func(t *testing.T) {
			d := newNSQDs(t)
			s := d.run(alwaysFails, dead, nsqx.WithConcurrency(4))
			l := d.line(nsqd1)
			l.send(1)
			synctest.Wait()
			time.Sleep(60 * time.Second)
			l.send(2, 3, 4)
			synctest.Wait()
			want(t, "dead letters", s.Stats().DeadLettered, 4)
			s.wantStop(closeTime)
		})
	}
}

// TestSlowPublisherHandshake: a handshake delays the message no longer than a dead letter may take,
// and never delays the shutdown.
func TestSlowPublisherHandshake(t *testing.T) {
	for _, takes := range []time.Duration{20 * time.Second, 45 * time.Second, 90 * time.Second, time.Hour} {
		bubble(t, takes.String(), func(t *testing.T) {
			d := newNSQDs(t)
			d.config.HandshakeTimeout = 3 * time.Minute
			d.greet = func(l *line) bool {
				if l.n == 2 {
					time.Sleep(takes)
				}
				return l.n != 2 || takes < time.Hour
			}
			s := d.run(alwaysFails, dead, nsqx.WithRetry(seconds))
			l := d.line(nsqd1)
			l.send(1)
			time.Sleep(2 * time.Minute)
			if takes < 30*time.Second {
				l.wantAnswers("0s TOUCH 1", "20s TOUCH 1", "20s FIN 1")
			} else {
				l.wantAnswers("0s TOUCH 1", "20s TOUCH 1", "30s REQ 1 1000")
			}
			s.wantStop(closeTime)
		})
	}
}

// TestDeadLetterFunc: its context has the values of the handler's context, but not its deadline.
func TestDeadLetterFunc(t *testing.T) {
	type key struct{}
	bubble(t, "", func(t *testing.T) {
		answers := []error{nil, errOther}
		var bodies []string
		fn := func(ctx context.Context, m *handler.Message, err error) error {
			bodies = append(bodies, string(m.Body))
			wantErr(t, "cause", err, errBill)
			want(t, "value of Run's context", ctx.Value(key{}), any("v"))
			want(t, "message", handler.FromContext(ctx), m)
			time.Sleep(5*time.Minute + time.Second)
			wantErr(t, "context", ctx.Err(), nil)
			answer := answers[0]
			answers = answers[1:]
			return answer
		}
		d := newNSQDs(t)
		s := d.runContext(context.WithValue(context.Background(), key{}, "v"), alwaysFails,
			nsqx.WithDeadLetterFunc(fn), nsqx.WithConcurrency(1), nsqx.WithRetry(seconds))
		l := d.line(nsqd1)
		l.sendAs(1, 4, "one")
		time.Sleep(6 * time.Minute)
		l.sendAs(2, 4, "two")
		time.Sleep(6 * time.Minute)
		l.wantCommands("FIN REQ", "FIN 1, REQ 2 4000")
		want(t, "touches", len(l.entries("TOUCH")), 2*16)
		if !slices.Equal(bodies, []string{"one", "two"}) {
			t.Errorf("dead letters %q", bodies)
		}
		s.wantStop(closeTime)
	})
}

// TestDeadLetterTooLate: after nsqd's max-msg-timeout the message is not answered.
func TestDeadLetterTooLate(t *testing.T) {
	for name, answer := range map[string]error{"failed": errOther, "confirmed": nil} {
		bubble(t, name, func(t *testing.T) {
			d := newNSQDs(t)
			d.identify = map[string]any{"msg_timeout": 6000, "max_msg_timeout": 10_000}
			settled := &settleEvents{}
			s := d.run(alwaysFails, nsqx.WithHooks(settled.hooks()), nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error {
				time.Sleep(20 * time.Second)
				return answer
			}))
			l := d.line(nsqd1)
			l.send(1)
			time.Sleep(30 * time.Second)
			l.wantAnswers("0s TOUCH 1", "2s TOUCH 1", "4s TOUCH 1", "6s TOUCH 1", "8s TOUCH 1")
			want(t, "outcome", settled.all()[0].out.Disposition, handler.Expired)
			want(t, "counted as expired", s.Stats().Expired, 1)
			s.wantStop(closeTime)
		})
	}
}

// TestShutdownDuringDeadLetter: the shutdown waits for a dead letter as for a handler, then
// requeues the message.
func TestShutdownDuringDeadLetter(t *testing.T) {
	bubble(t, "confirmed", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = onPUB(map[string]func(*line){nsqd1: sayAfter(15*time.Second, "OK")})
		s := d.run(alwaysFails, dead)
		l := d.line(nsqd1)
		l.send(1)
		synctest.Wait()
		s.wantStop(15*time.Second + closeTime)
		l.wantAnswers("0s TOUCH 1", "15s FIN 1")
	})
	bubble(t, "confirmed in the extra second", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = onPUB(map[string]func(*line){nsqd1: sayAfter(5500*time.Millisecond, "OK")})
		s := d.run(alwaysFails, dead, nsqx.WithShutdownTimeout(5*time.Second))
		l := d.line(nsqd1)
		l.send(1)
		synctest.Wait()
		s.wantStop(5500*time.Millisecond + closeTime)
		l.wantAnswers("0s TOUCH 1", "5.5s FIN 1")
	})
	bubble(t, "not confirmed", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = onPUB(map[string]func(*line){nsqd1: neverAnswer})
		s := d.run(alwaysFails, dead, nsqx.WithShutdownTimeout(5*time.Second))
		l := d.line(nsqd1)
		l.send(1)
		synctest.Wait()
		took, err := s.stop()
		want(t, "took", took, 6*time.Second+closeTime)
		shutdown, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || len(shutdown.Abandoned) != 1 || !shutdown.Abandoned[0].Requeued || shutdown.Running != 0 {
			t.Errorf("Run returned %#v", err)
		}
		l.wantAnswers("0s TOUCH 1", "6s REQ 1 0")
		want(t, "counted as interrupted", s.Stats().Interrupted, 1)
		want(t, "counted as requeued", s.Stats().Requeued, 0)
	})
	bubble(t, "func", func(t *testing.T) {
		d := newNSQDs(t)
		var cause error
		s := d.run(alwaysFails, nsqx.WithShutdownTimeout(5*time.Second), nsqx.WithDeadLetterFunc(func(ctx context.Context, _ *handler.Message, _ error) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return nil // too late: the message has been requeued
		}))
		l := d.line(nsqd1)
		l.send(1)
		synctest.Wait()
		took, err := s.stop()
		want(t, "took", took, 6*time.Second+closeTime)
		wantErr(t, "Run", err, context.DeadlineExceeded)
		want(t, "cause", cause, handler.ErrShutdown)
		l.wantAnswers("0s TOUCH 1", "6s REQ 1 0")
		want(t, "counted as dead", s.Stats().DeadLettered, 0)
	})
}

// TestInterruptedIsNotADeadLetter: a message that fails because of the shutdown is requeued,
// whatever its error.
func TestInterruptedIsNotADeadLetter(t *testing.T) {
	for name, answer := range map[string]error{"permanent": retry.Permanent(errBill), "drop": retry.Drop(errBill), "other": errBill, "after": retry.After(time.Hour, nil)} {
		bubble(t, name, func(t *testing.T) {
			d := newNSQDs(t)
			s := d.run(func(ctx context.Context, _ string) error {
				<-ctx.Done()
				want(t, "cause", context.Cause(ctx), handler.ErrShutdown)
				return answer
			}, dead, nsqx.WithMaxAttempts(1), nsqx.WithShutdownTimeout(3*time.Second))
			l := d.line(nsqd1)
			l.sendAs(1, 2, "x")
			synctest.Wait()
			s.wantStop(3*time.Second + closeTime)
			l.wantAnswers("3s REQ 1 0")
			want(t, "counted", s.Stats().Interrupted, 1)
			want(t, "connections to publish", len(d.all(nsqd1, false)), 0)
		})
	}
}

// TestCrashGuardIsLogged: a message that seems to crash the process is logged as an error.
func TestCrashGuardIsLogged(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		s := d.run(func(context.Context, string) error { panic("not called") }, dead, max3, guard15)
		l := d.line(nsqd1)
		l.sendAs(1, 15, "x")
		l.wantCommands("FIN REQ", "FIN 1")
		want(t, "logged", d.log.count(slog.LevelError, "crash guard"), 1)
		s.wantStop(closeTime)
		if out := strings.Join(d.publisher(nsqd1).commands("PUB"), ""); out != "PUB dead" {
			t.Errorf("dead letters: %q", out)
		}
	})
}

// TestDeadLetterRecord: the record names the topic of the dead letter.
func TestDeadLetterRecord(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, log := nsqxtest.NewServer(t), new(logbook)
		c := newLoggedConsumer(t, log, alwaysFails, s.Option(), dead)
		nsqxtest.Run(t, c)
		publish(s, 1)
		s.Await("orders", "billing", finished(1))
		synctest.Wait() // for the goroutine of events
		want(t, "records", log.countAttrs("it is a dead letter", "dead"), 1)
	})
}
