package nsqxtest_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// Tests of Server with a real consumer.

func TestConsumerHandles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3)
		var handled atomic.Int64
		c := consumer(t, func(ctx context.Context, body string) error {
			handled.Add(1)
			if m := handler.FromContext(ctx); body == "fails once" && m.Attempts == 1 {
				return retry.After(5*time.Second, errCredit)
			}
			return nil
		}, nsqxtest.Option(servers...))
		nsqxtest.Run(t, c)
		for _, s := range servers {
			for i := range 100 {
				s.Publish("orders", fmt.Append(nil, i))
			}
		}
		servers[0].Publish("orders", []byte("fails once"))
		time.Sleep(10 * time.Second)
		servers[0].Await("orders", "billing", finished(101))
		servers[1].Await("orders", "billing", finished(100))
		servers[2].Await("orders", "billing", finished(100))
		check.Want(t, "handled", handled.Load(), 302)
		requeues := servers[0].Requeues("orders", "billing")
		check.Want(t, "requeues", len(requeues), 1)
		check.Want(t, "delay", requeues[0].Delay, 5*time.Second)
		check.Want(t, "attempts", servers[0].Attempts("orders", "billing", requeues[0].ID), 2)
	})
}

// The dead letter is confirmed before the message is finished.
func TestConsumerDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := consumer(t, func(context.Context, string) error { return retry.Permanent(errCredit) },
			nsqx.WithDeadLetter("orders.dead"), s.Option())
		stop := nsqxtest.Run(t, c)
		s.Publish("orders", []byte("poison"))
		wantList(t, "dead letters", nsqxtest.Received(t, s, "orders.dead", codec.String(), 1), "poison")
		stop()
		var names []string
		for _, cmd := range s.Commands("PUB", "FIN") {
			names = append(names, cmd.Name)
		}
		wantList(t, "commands", names, "PUB", "FIN")
		check.Want(t, "finished", s.Stats("orders", "billing").Finished, 1)
	})
}

func TestConsumerTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMessageTimeout(10*time.Second))
		var causes []error // one handler at a time
		c := consumer(t, func(ctx context.Context, _ string) error {
			if handler.FromContext(ctx).Attempts > 1 {
				return nil
			}
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			time.Sleep(time.Minute) // too late for any answer
			return errCredit
		}, nsqx.WithConcurrency(2), s.Option())
		nsqxtest.Run(t, c)
		s.Publish("orders", []byte("x"))
		time.Sleep(2 * time.Minute)
		check.Want(t, "stats", s.Await("orders", "billing", finished(1)).TimedOut, 1)
		wantList(t, "causes", causes, error(handler.ErrMessageTimeout))
		check.Want(t, "requeues", len(s.Requeues("orders", "billing")), 0)
	})
}

func TestConsumerReconnects(t *testing.T) {
	for name, end := range map[string]func(*nsqxtest.Server){
		"disconnected": (*nsqxtest.Server).Disconnect,
		"reset":        (*nsqxtest.Server).ResetConns,
		"SUB refused": func(s *nsqxtest.Server) {
			var refused atomic.Bool
			s.On("SUB", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
				if refused.CompareAndSwap(false, true) {
					return nsqxtest.Fail("E_SUB_FAILED too many consumers")
				}
				return nsqxtest.Proceed()
			})
			s.Disconnect()
		},
		"refused": func(s *nsqxtest.Server) {
			s.Refuse(true)
			s.Disconnect()
			time.Sleep(time.Minute)
			s.Refuse(false)
		},
		"frozen": func(s *nsqxtest.Server) {
			s.Freeze(nsqxtest.BothWays)
			time.Sleep(90 * time.Second)
			s.Thaw(nsqxtest.BothWays)
		},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			nsqxtest.Run(t, consumer(t, func(context.Context, string) error { return nil }, s.Option()))
			s.Publish("orders", []byte("before"))
			s.Await("orders", "billing", finished(1))
			end(s)
			s.Publish("orders", []byte("after"))
			time.Sleep(20 * time.Second)
			s.Await("orders", "billing", finished(2))
			if s.Dials() < 2 {
				t.Error("no second dial")
			}
		})
	}
}

// A drain requeues what no handler has started, and leaves nothing in flight.
func TestConsumerDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := consumer(t, func(context.Context, string) error {
			time.Sleep(5 * time.Second)
			return nil
		}, nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(4), s.Option())
		for range 4 {
			s.Publish("orders", []byte("x"))
		}
		stop := nsqxtest.Run(t, c)
		time.Sleep(time.Second)
		stop()
		st := s.Stats("orders", "billing")
		check.Want(t, "finished", st.Finished, 1)
		check.Want(t, "in flight", st.InFlight, 0)
		check.Want(t, "not handled", st.Depth+st.Deferred, 3)
		check.Want(t, "connections", len(s.Conns()), 0)
	})
}

// With real time, outside a bubble.
func TestConsumerInRealTime(t *testing.T) {
	s := nsqxtest.NewServer(t)
	var mu sync.Mutex
	seen := make(map[string]bool)
	nsqxtest.Run(t, consumer(t, func(_ context.Context, body string) error {
		mu.Lock()
		defer mu.Unlock()
		seen[body] = true
		return nil
	}, s.Option()))
	for i := range 1000 {
		s.Publish("orders", fmt.Append(nil, i))
	}
	s.Await("orders", "billing", finished(1000))
	mu.Lock()
	defer mu.Unlock()
	check.Want(t, "handled", len(seen), 1000)
}
