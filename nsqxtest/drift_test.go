package nsqxtest_test

import (
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

// A server that counts too many messages in flight delivers less than RDY says.
func TestDrift(t *testing.T) {
	check.Bubble(t, "on demand", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, "")
		c.send("RDY 2\n")
		synctest.Wait()
		s.Conns()[0].Drift(2)
		check.Want(t, "in flight", s.Conns()[0].InFlight(), 2)
		s.Publish("orders", []byte("a"), []byte("b"))
		c.want()
		c.send("RDY 3\n")
		c.want("message 1 attempt 1: a")
		s.Conns()[0].Drift(-1)
		c.want("message 2 attempt 1: b")
	})
	check.Bubble(t, "two messages with one id", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, "")
		c.send("RDY 2\n")
		given, _ := handler.ParseID(id(7))
		for range 2 {
			s.PublishMessage("orders", []byte("a"), nsqxtest.WithID(given))
		}
		c.want("message 7 attempt 1: a", "message 7 attempt 1: a")
		c.send("FIN %s\nFIN %s\n", id(7), id(7))
		c.want("error E_FIN_FAILED FIN " + id(7) + " failed ID not in flight")
		check.Want(t, "in flight", s.Stats("orders", "billing").InFlight, 0)
		check.Want(t, "in flight as counted", s.Conns()[0].InFlight(), 1)
	})
}
