package nsqxtest_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

// A server that stops keeps its messages, one that is killed loses those outside of its queues.
func TestStop(t *testing.T) {
	for name, tt := range map[string]struct {
		stop func(*nsqxtest.Server)
		want []string
	}{
		"stop": {(*nsqxtest.Server).Stop, []string{"message 3 attempt 1: queued", "message 1 attempt 2: in flight", "message 2 attempt 1: deferred"}},
		"kill": {(*nsqxtest.Server).Kill, []string{"message 3 attempt 1: queued"}},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c := subscribed(t, s, "")
			c.send("RDY 1\n")
			s.Publish("orders", []byte("in flight"))
			s.PublishMessage("orders", []byte("deferred"), nsqxtest.WithDelay(time.Hour))
			s.Publish("orders", []byte("queued"))
			c.want("message 1 attempt 1: in flight")

			tt.stop(s)
			tt.stop(s) // changes nothing
			c.want("EOF")
			if _, err := s.DialContext(t.Context(), "tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a dial to a stopped server: got %v, want a refused connection", err)
			}
			check.Want(t, "state", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Depth: len(tt.want)})

			time.Sleep(2 * time.Hour) // no timer of before has an effect
			s.Start("")
			check.Want(t, "address", s.Addr(), "nsqd-1.test:4150")
			c = subscribed(t, s, "")
			c.send("RDY %d\n", len(tt.want))
			c.want(tt.want...)
			c.send("FIN %s\n", id(3))
			s.Await("orders", "billing", finished(1))
		})
	}
}

func TestStartMoves(t *testing.T) {
	check.Bubble(t, "moves", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Start("nsqd-9.test:4150") // it runs
		check.Want(t, "address", s.Addr(), "nsqd-1.test:4150")
		s.Stop()
		s.Publish("orders", []byte("x"))
		s.Start("nsqd-9.test:4150")
		check.Want(t, "address", s.Addr(), "nsqd-9.test:4150")
		check.Want(t, "depth", s.Stats("orders", "").Depth, 1)
	})
}

func TestWithoutLog(t *testing.T) {
	check.Bubble(t, "none", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithoutLog())
		subscribed(t, s, "")
		check.Want(t, "commands", len(s.Commands()), 0)
	})
}
