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

// TestCutBeforeTheOK (row F14): nsqd may have the message, so it is published again only with
// WithAtLeastOnce.
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

// TestUnconfirmedIsKept: after an unconfirmed attempt the error stays ErrUnconfirmed, whatever
// later attempts return; it also has their reason.
func TestUnconfirmedIsKept(t *testing.T) {
	for name, tt := range map[string]struct {
		then  nsqxtest.Action
		after error // also in the error
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

// TestLateAnswerOfAPublish is row F15.
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

// TestPublishToSilence: Publish returns when its ctx ends, even while heartbeats come.
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

// TestOverload (row R3): above the limit of unanswered messages a publish waits until its ctx ends,
// and is not sent.
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
		wantKind(t, <-all, nsqx.ErrUnconfirmed) // after the publish timeout
	})
}

// TestForbiddenTopic (row A3): the refusal of one topic ends the connection, and delays no other
// topic.
func TestForbiddenTopic(t *testing.T) {
	for _, timeout := range []time.Duration{10 * time.Second, time.Second} {
		bubble(t, timeout.String(), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			onPublish(func(_ *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
				if cmd.Param(0) == "secret" {
					return nsqxtest.Fail("E_UNAUTHORIZED AUTH failed for PUB on \"secret\"")
				}
				return nsqxtest.Proceed()
			}, s)
			p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithPublishTimeout(timeout))
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

// TestAuthExpires (row A4): the auth server fails for a while. That costs connections, but no
// message.
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

// TestAlwaysRefused: a publish that every nsqd refuses ends with the publish timeout, even if other
// publishes succeed all the time and keep connections up.
func TestAlwaysRefused(t *testing.T) {
	for _, timeout := range []time.Duration{0, 5 * time.Second} {
		bubble(t, timeout.String(), func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 3)
			onPublish(func(_ *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
				if cmd.Param(0) == "full" {
					return nsqxtest.Fail("E_PUB_FAILED PUB failed").After(20 * time.Millisecond)
				}
				return nsqxtest.Proceed().After(time.Millisecond)
			}, servers...)
			p := newPublisher(t, servers, nsqx.WithPublishTimeout(timeout))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var others sync.WaitGroup
			for i := range 9 { // three for each nsqd
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
			if took := time.Since(start); took > timeout+time.Second {
				t.Errorf("it took %v", took)
			}
			cancel()
			others.Wait()
		})
	}
}

// TestOneOfManyIsTooLarge: nsqd's limit is lower than the configured one, so it refuses an MPUB
// because of one message. The others are published.
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

// TestDroppedRepeatedly: nsqd closes the connection after every 20 PUBs. No publish is lost or
// hangs, and only those in flight fail.
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

// TestCancelCause: errgroup cancels the context of all with the error of one, whose kind is not
// that of the others.
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
