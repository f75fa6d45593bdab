package nsqxtest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestDelivery(t *testing.T) {
	check.Bubble(t, "a topic keeps messages for its first channel", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		ids := s.Publish("orders", []byte("a"), []byte("b"))
		check.Want(t, "second id", ids[1].String(), id(2))
		check.Want(t, "waiting", s.Stats("orders", "").Depth, 2)
		c := subscribed(t, s, "")
		check.Want(t, "depth", s.Stats("orders", "billing").Depth, 2)
		c.send("RDY 5\n")
		time.Sleep(250 * time.Millisecond)
		c.want("message 1 attempt 1: a", "message 2 attempt 1: b")
	})
	check.Bubble(t, "each channel gets a copy", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		billing, audit := subscribed(t, s, ""), connect(t, s)
		audit.identify("")
		audit.send("SUB orders audit\nRDY 1\n")
		billing.send("RDY 1\n")
		audit.want("OK", "OK")
		s.Publish("orders", []byte("a"))
		audit.want("message 1 attempt 1: a")
		billing.want("message 1 attempt 1: a")
		billing.send("FIN %s\n", id(1))
		synctest.Wait()
		check.Want(t, "billing", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, Finished: 1})
		check.Want(t, "audit", s.Stats("orders", "audit"), nsqxtest.ChannelStats{Subscribers: 1, InFlight: 1})
	})
	check.Bubble(t, "round robin, while in flight < RDY", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		a, b := subscribed(t, s, ""), subscribed(t, s, "")
		a.send("RDY 2\n")
		b.send("RDY 1\n")
		synctest.Wait()
		for i := range 5 {
			s.Publish("orders", fmt.Append(nil, i))
		}
		a.want("message 1 attempt 1: 0", "message 3 attempt 1: 2")
		b.want("message 2 attempt 1: 1")
		check.Want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 2, InFlight: 3, Depth: 2})
		b.send("RDY 0\nFIN %s\n", id(2))
		a.send("FIN %s\n", id(1))
		a.want("message 4 attempt 1: 3")
		b.want()
	})
	check.Bubble(t, "paused", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Pause("orders", "billing")
		c := subscribed(t, s, "")
		c.send("RDY 1\n")
		s.Publish("orders", []byte("a"))
		c.want()
		check.Want(t, "paused", s.Stats("orders", "billing").Paused, true)
		s.Unpause("orders", "billing")
		c.want("message 1 attempt 1: a")
	})
	check.Bubble(t, "sample rate", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, `"sample_rate":30`)
		c.send("RDY 1000\n")
		synctest.Wait()
		for range 100 {
			s.Publish("orders", []byte("a"))
		}
		time.Sleep(time.Second)
		check.Want(t, "delivered", len(c.got()), 30)
		check.Want(t, "waiting", s.Stats("orders", "billing").Depth, 0)
	})
	check.Bubble(t, "with options", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, "")
		c.send("RDY 1\n")
		given, _ := handler.ParseID("00000000000000ff")
		s.PublishMessage("orders", []byte("a"), nsqxtest.WithID(given), nsqxtest.WithAttempts(7), nsqxtest.WithDelay(time.Hour))
		check.Want(t, "deferred", s.Stats("orders", "billing").Deferred, 1)
		time.Sleep(time.Hour)
		c.want("message ff attempt 7: a")
		check.Want(t, "attempts", s.Attempts("orders", "billing", given), 7)
	})
	check.Bubble(t, "ephemeral", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := connect(t, s)
		c.identify("")
		c.send("SUB orders mine#ephemeral\n")
		c.want("OK", "OK")
		s.Publish("orders", []byte("a"))
		check.Want(t, "depth", s.Stats("orders", "mine#ephemeral").Depth, 1)
		c.close()
		synctest.Wait()
		check.Want(t, "depth afterwards", s.Stats("orders", "mine#ephemeral").Depth, 0)
	})
}

func TestTimeout(t *testing.T) {
	const timeout = 10 * time.Second
	expires := func(t *testing.T, c *client, at time.Duration) {
		t.Helper()
		time.Sleep(at - 1)
		c.want()
		time.Sleep(time.Nanosecond)
		c.want("message 1 attempt 2: x")
	}
	check.Bubble(t, "set by the server", func(t *testing.T) {
		s, c := oneInFlight(t, "", nsqxtest.WithMessageTimeout(timeout))
		expires(t, c, timeout)
		check.Want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, InFlight: 1, TimedOut: 1})
	})
	check.Bubble(t, "set by the client", func(t *testing.T) {
		_, c := oneInFlight(t, `"msg_timeout":10000`)
		expires(t, c, timeout)
	})
	check.Bubble(t, "touched", func(t *testing.T) {
		_, c := oneInFlight(t, "", nsqxtest.WithMessageTimeout(timeout))
		time.Sleep(6 * time.Second)
		c.send("TOUCH %s\n", id(1))
		synctest.Wait()
		expires(t, c, timeout)
	})
	check.Bubble(t, "touched past the maximum", func(t *testing.T) {
		_, c := oneInFlight(t, "", nsqxtest.WithMessageTimeout(timeout), nsqxtest.WithMaxMessageTimeout(15*time.Second))
		for range 2 {
			time.Sleep(6 * time.Second)
			c.send("TOUCH %s\n", id(1))
			synctest.Wait()
		}
		expires(t, c, 3*time.Second)
	})
	check.Bubble(t, "of a lost connection", func(t *testing.T) {
		s, c := oneInFlight(t, "", nsqxtest.WithMessageTimeout(timeout))
		c.close()
		time.Sleep(timeout - 1)
		synctest.Wait()
		check.Want(t, "in flight", s.Stats("orders", "billing"), nsqxtest.ChannelStats{InFlight: 1})
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		check.Want(t, "timed out", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Depth: 1, TimedOut: 1})
	})
}
