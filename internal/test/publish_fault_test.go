package test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestCutBeforeTheOK is F14: nsqd may have it, so it is published again only if the service says so.
func TestCutBeforeTheOK(t *testing.T) {
	for name, cut := range map[string]nsqxtest.Action{"closed": nsqxtest.HangUp(), "reset": nsqxtest.Reset()} {
		for _, again := range []bool{false, true} {
			bubble(t, fmt.Sprint(name, again), func(t *testing.T) {
				s := nsqxtest.NewServer(t)
				onPublish(sequence(cut), s)
				opts := []nsqx.ProducerOption{nil}
				if again {
					opts = append(opts, nsqx.WithAtLeastOnce())
				}
				p := newPublisher(t, []*nsqxtest.Server{s}, opts...)
				err := sendTo(t.Context(), p, "orders", "x")
				if again {
					wantKind(t, err, nil)
					want(t, "commands", commands(s), 2)
					return
				}
				wantKind(t, err, nsqx.ErrUnconfirmed)
				time.Sleep(time.Minute)
				want(t, "commands", commands(s), 1)
				want(t, "unconfirmed", p.Stats().Unconfirmed, 1)
			})
		}
	}
}

// TestUnconfirmedIsKept: nsqd may have it, whatever becomes of later attempts; and why they ended is told, too.
func TestUnconfirmedIsKept(t *testing.T) {
	for name, tt := range map[string]struct {
		then  nsqxtest.Action
		after error // what the error is, too
	}{
		"rejected then": {nsqxtest.Fail("E_BAD_TOPIC"), nil},
		"silent then":   {nsqxtest.Drop(), context.DeadlineExceeded},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			onPublish(sequence(nsqxtest.HangUp(), tt.then), s)
			p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithAtLeastOnce())
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := sendTo(ctx, p, "orders", "x")
			wantKind(t, err, nsqx.ErrUnconfirmed)
			if tt.after != nil {
				wantErr(t, "why", err, tt.after)
			}
			want(t, "commands", commands(s), 2)
		})
	}
	bubble(t, "no nsqd then", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(func(c *nsqxtest.ServerConn, _ nsqxtest.Command) nsqxtest.Action {
			s.Refuse(true)
			return nsqxtest.HangUp()
		}, s)
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithAtLeastOnce())
		wantKind(t, sendTo(t.Context(), p, "orders", "x"), nsqx.ErrUnconfirmed)
	})
}

// TestLateAnswerOfAPublish is F15.
func TestLateAnswerOfAPublish(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(sequence(nsqxtest.Proceed().After(time.Second), nsqxtest.Fail("E_BAD_TOPIC").After(time.Second)), s)
		p := newPublisher(t, []*nsqxtest.Server{s})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := sendTo(ctx, p, "orders", "a")
		want(t, "returned after", time.Since(start), 50*time.Millisecond)
		wantKind(t, err, nsqx.ErrUnconfirmed)
		wantErr(t, "why", err, context.DeadlineExceeded)
		wantKind(t, sendTo(t.Context(), p, "orders", "b"), nsqx.ErrRejected)
		wantKind(t, sendTo(t.Context(), p, "orders", "c"), nil)
		want(t, "published", published(s, "orders"), "a c")
	})
}

// TestPublishToSilence: Publish returns when its ctx ends, also while heartbeats come.
func TestPublishToSilence(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(always(nsqxtest.Drop()), s)
		p := newPublisher(t, []*nsqxtest.Server{s})
		for _, d := range []time.Duration{time.Millisecond, 7 * time.Second, time.Minute} {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			start := time.Now()
			err := sendTo(ctx, p, "orders", "x")
			cancel()
			wantKind(t, err, nsqx.ErrUnconfirmed)
			if took := time.Since(start); took > d {
				t.Errorf("it took %v", took)
			}
		}
	})
}

// TestOverload is R3: who has very much unanswered waits, by its ctx, and what waits is not sent.
func TestOverload(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(always(nsqxtest.Drop()), s)
		p := newPublisher(t, []*nsqxtest.Server{s})
		all := inBackground(func() error { return p.Send(t.Context(), message("orders", numbered(16384)...)) })
		want(t, "in flight", p.Stats().InFlight, 16384)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := sendTo(ctx, p, "orders", "x")
		wantKind(t, err, nsqx.ErrNotSent)
		wantErr(t, "why", err, context.DeadlineExceeded)
		want(t, "commands", commands(s), 1)
		wantKind(t, <-all, nsqx.ErrUnconfirmed) // after PublishTimeout
	})
}

// TestForbiddenTopic is A3: the refusal of one topic ends the connection, and holds up no other.
func TestForbiddenTopic(t *testing.T) {
	for _, patience := range []time.Duration{10 * time.Second, time.Second} {
		bubble(t, patience.String(), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			onPublish(func(_ *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
				if cmd.Param(0) == "secret" {
					return nsqxtest.Fail("E_UNAUTHORIZED AUTH failed for PUB on \"secret\"")
				}
				return nsqxtest.Proceed()
			}, s)
			p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithPublishTimeout(patience))
			for range 20 {
				wantKind(t, sendTo(t.Context(), p, "secret", "x"), nsqx.ErrRejected)
			}
			start := time.Now()
			wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
			if took := time.Since(start); took > 150*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestAuthExpires is A4: the auth server fails for a while, which ends connections and costs no message.
func TestAuthExpires(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		fail := nsqxtest.Fail("E_AUTH_FAILED AUTH failed")
		onPublish(sequence(nsqxtest.Proceed(), fail, fail, fail), s)
		p := newPublisher(t, []*nsqxtest.Server{s})
		for _, body := range numbered(3) {
			wantKind(t, sendTo(t.Context(), p, "orders", body), nil)
		}
		want(t, "published", published(s, "orders"), "m0 m1 m2")
		want(t, "dials", s.Dials(), 4)
		want(t, "not sent", p.Stats().NotSent, 0)
	})
}

// TestAlwaysRefused: a publish that no nsqd takes ends when patience does, also when others are taken all the while, so that there is
// always a connection.
func TestAlwaysRefused(t *testing.T) {
	for _, patience := range []time.Duration{0, 5 * time.Second} {
		bubble(t, patience.String(), func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 3)
			onPublish(func(_ *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
				if cmd.Param(0) == "full" {
					return nsqxtest.Fail("E_PUB_FAILED PUB failed").After(20 * time.Millisecond)
				}
				return nsqxtest.Proceed().After(time.Millisecond)
			}, servers...)
			p := newPublisher(t, servers, nsqx.WithPublishTimeout(patience))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var others sync.WaitGroup
			for i := range 9 { // each nsqd has three that keep to it
				others.Go(func() {
					for ctx.Err() == nil {
						out := message("orders", "x")
						out.NSQD = servers[i%3].Addr()
						_ = p.Send(ctx, out)
						time.Sleep(time.Millisecond)
					}
				})
			}
			start := time.Now()
			wantKind(t, sendTo(ctx, p, "full", "x"), nsqx.ErrNotSent)
			if took := time.Since(start); took > patience+time.Second {
				t.Errorf("it took %v", took)
			}
			cancel()
			others.Wait()
		})
	}
}

// TestOneOfManyIsTooLarge: nsqd, whose limit is lower than ours, refuses an MPUB for one of its messages: the others are published.
func TestOneOfManyIsTooLarge(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxMessageSize(10), nsqxtest.WithoutChecks())
		s.On("PUB", func(_ *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
			if len(cmd.Body) > 10 {
				return nsqxtest.Fail("E_BAD_MESSAGE PUB message too big")
			}
			return nsqxtest.Proceed()
		})
		p := newPublisher(t, []*nsqxtest.Server{s})
		const n = 50
		var large, small sync.WaitGroup
		for i := range n {
			small.Go(func() { wantKind(t, sendTo(t.Context(), p, "orders", fmt.Sprint("m", i)), nil) })
		}
		large.Go(func() { wantKind(t, sendTo(t.Context(), p, "orders", "much too large"), nsqx.ErrRejected) })
		small.Wait()
		large.Wait()
		want(t, "published", len(s.Published("orders")), n)
	})
}

// TestDroppedAgainAndAgain: nsqd drops the connection after every 20 PUBs. None is lost, none hangs, and only those are reported that were
// on their way.
func TestDroppedRepeatedly(t *testing.T) {
	for _, again := range []bool{false, true} {
		bubble(t, fmt.Sprint("at least once ", again), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			onConn := make(map[int]int)
			onPublish(func(c *nsqxtest.ServerConn, _ nsqxtest.Command) nsqxtest.Action {
				if onConn[c.N()]++; onConn[c.N()] > 20 { // one connection at a time
					return nsqxtest.HangUp()
				}
				return nsqxtest.Proceed()
			}, s)
			opts := []nsqx.ProducerOption{nil}
			if again {
				opts = append(opts, nsqx.WithAtLeastOnce())
			}
			p := newPublisher(t, []*nsqxtest.Server{s}, opts...)
			var failed synced[error]
			var confirmed synced[string]
			var all sync.WaitGroup
			for g := range 8 {
				all.Go(func() {
					for i := range 300 {
						body := fmt.Sprint(g, "/", i)
						if err := sendTo(t.Context(), p, "orders", body); err != nil {
							failed.add(err)
						} else {
							confirmed.add(body)
						}
					}
				})
			}
			all.Wait()
			have := make(map[string]int)
			for _, x := range s.Published("orders") {
				have[string(x.Body)]++
			}
			for _, body := range confirmed.all() {
				if have[body] == 0 || have[body] > 1 && !again {
					t.Errorf("%s: nsqd has it %d times", body, have[body])
				}
			}
			for _, err := range failed.all() {
				wantKind(t, err, nsqx.ErrUnconfirmed)
			}
			want(t, "results", len(confirmed.all())+len(failed.all()), 2400)
			if again {
				want(t, "failed", len(failed.all()), 0)
			}
			if s.Dials() < 5 {
				t.Errorf("%d dials: nsqd has not dropped much", s.Dials())
			}
		})
	}
}

// TestHeartbeatsWhilePublishing is M16 for PUB.
func TestHeartbeatsWhilePublishing(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(always(nsqxtest.Proceed().After(2*time.Minute)), s)
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithConn(conn.Config{PublishTimeout: time.Hour}))
		for range 3 {
			wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
		}
		want(t, "dials", s.Dials(), 1)
	})
}

// TestCausesOfOthers: errgroup ends the context of all with the error of one, which is not the kind of theirs.
func TestCancelCause(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(always(nsqxtest.Drop()), s)
		p := newPublisher(t, []*nsqxtest.Server{s})
		ctx, cancel := context.WithCancelCause(t.Context())
		result := inBackground(func() error { return sendTo(ctx, p, "orders", "x") })
		cancel(sendTo(ctx, p, "no topic", "x"))
		err := <-result
		wantKind(t, err, nsqx.ErrUnconfirmed)
		wantErr(t, "why", err, context.Canceled)
		want(t, "counted", p.Stats().Unconfirmed, 1)
		synctest.Wait()
		if e, ok := errors.AsType[*nsqx.PublishError](err); !ok || e.Topic != "orders" {
			t.Errorf("error is %v", err)
		}
	})
}
