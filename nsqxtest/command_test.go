package nsqxtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestAnswers(t *testing.T) {
	check.Bubble(t, "REQ", func(t *testing.T) {
		s, c := oneInFlight(t, "", nsqxtest.WithMaxRequeueTimeout(time.Minute))
		start := time.Now()
		c.send("REQ %s 0\n", id(1))
		c.want("message 1 attempt 2: x")
		c.send("REQ %s 2000\n", id(1))
		c.want()
		check.Want(t, "deferred", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, Deferred: 1, Requeued: 2})
		time.Sleep(2 * time.Second)
		c.want("message 1 attempt 3: x")
		c.send("REQ %s 3600000\n", id(1))
		time.Sleep(time.Minute - 1)
		c.want()
		time.Sleep(time.Nanosecond)
		c.want("message 1 attempt 4: x")
		first := s.Requeues("orders", "billing")[0].ID
		check.Want(t, "id", first.String(), id(1))
		wantList(t, "requeues", s.Requeues("orders", "billing"),
			nsqxtest.Requeue{Time: start, ID: first, Attempts: 1},
			nsqxtest.Requeue{Time: start, ID: first, Attempts: 2, Delay: 2 * time.Second},
			nsqxtest.Requeue{Time: start.Add(2 * time.Second), ID: first, Attempts: 3, Delay: time.Minute})
		check.Want(t, "attempts", s.Attempts("orders", "billing", first), 4)
	})
	check.Bubble(t, "a requeued message goes to the tail", func(t *testing.T) {
		s, c := oneInFlight(t, "")
		s.Publish("orders", []byte("y"))
		c.send("REQ %s 0\n", id(1))
		c.want("message 2 attempt 1: y")
	})
	check.Bubble(t, "FIN after CLS", func(t *testing.T) {
		s, c := oneInFlight(t, "")
		s.Publish("orders", []byte("y"))
		c.send("CLS\nFIN %s\n", id(1))
		c.want("CLOSE_WAIT")
		finished := s.Finished("orders", "billing")
		if len(finished) != 1 || finished[0].String() != id(1) {
			t.Errorf("finished %v, want message 1", finished)
		}
		check.Want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, Depth: 1, Finished: 1})
	})
	check.Bubble(t, "message of another connection", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMessageTimeout(time.Second))
		a, b := subscribed(t, s, ""), subscribed(t, s, "")
		s.Publish("orders", []byte("x"))
		a.send("RDY 1\n")
		a.want("message 1 attempt 1: x")
		a.send("RDY 0\n")
		b.send("RDY 1\n")
		time.Sleep(time.Second)
		b.want("message 1 attempt 2: x")
		a.send("FIN %s\n", id(1))
		a.want("error E_FIN_FAILED FIN " + id(1) + " failed client does not own message")
	})
}

// An answer after the message timeout is refused, but breaks no rule.
func TestLateAnswersAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMessageTimeout(time.Second))
		c := subscribed(t, s, "")
		s.Publish("orders", []byte("x"))
		c.send("RDY 1\n")
		c.want("message 1 attempt 1: x")
		c.send("RDY 0\n")
		time.Sleep(time.Second)
		synctest.Wait()
		c.send("TOUCH %s\nFIN %s\n", id(1), id(1))
		c.want("error E_TOUCH_FAILED TOUCH "+id(1)+" failed ID not in flight", "error E_FIN_FAILED FIN "+id(1)+" failed ID not in flight")
	})
}
