package nsqxtest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestDelivery(t *testing.T) {
	bubble(t, "a topic keeps what comes before its first channel", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		ids := s.Publish("orders", []byte("a"), []byte("b"))
		want(t, "second id", ids[1].String(), id(2))
		want(t, "waiting", s.Stats("orders", "").Depth, 2)
		c := subscribed(t, s, "")
		want(t, "depth", s.Stats("orders", "billing").Depth, 2)
		c.send("RDY 5\n")
		time.Sleep(250 * time.Millisecond)
		c.want("message 1 attempt 1: a", "message 2 attempt 1: b")
	})
	bubble(t, "each channel gets a copy", func(t *testing.T) {
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
		want(t, "billing", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, Finished: 1})
		want(t, "audit", s.Stats("orders", "audit"), nsqxtest.ChannelStats{Subscribers: 1, InFlight: 1})
	})
	bubble(t, "in turns, while in flight < RDY", func(t *testing.T) {
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
		want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 2, InFlight: 3, Depth: 2})
		b.send("RDY 0\nFIN %s\n", id(2))
		a.send("FIN %s\n", id(1))
		a.want("message 4 attempt 1: 3")
		b.want()
	})
	bubble(t, "paused", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Pause("orders", "billing")
		c := subscribed(t, s, "")
		c.send("RDY 1\n")
		s.Publish("orders", []byte("a"))
		c.want()
		want(t, "paused", s.Stats("orders", "billing").Paused, true)
		s.Unpause("orders", "billing")
		c.want("message 1 attempt 1: a")
	})
	bubble(t, "sample rate", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, `"sample_rate":30`)
		c.send("RDY 1000\n")
		synctest.Wait()
		for range 100 {
			s.Publish("orders", []byte("a"))
		}
		time.Sleep(time.Second)
		want(t, "delivered", len(c.got()), 30)
		want(t, "waiting", s.Stats("orders", "billing").Depth, 0)
	})
	bubble(t, "as the test wants it", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, "")
		c.send("RDY 1\n")
		given, _ := handler.ParseID("00000000000000ff")
		s.PublishMessage("orders", []byte("a"), nsqxtest.WithID(given), nsqxtest.WithAttempts(7), nsqxtest.WithDelay(time.Hour))
		want(t, "deferred", s.Stats("orders", "billing").Deferred, 1)
		time.Sleep(time.Hour)
		c.want("message ff attempt 7: a")
		want(t, "attempts", s.Attempts("orders", "billing", given), 7)
	})
	bubble(t, "ephemeral", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := connect(t, s)
		c.identify("")
		c.send("SUB orders mine#ephemeral\n")
		c.want("OK", "OK")
		s.Publish("orders", []byte("a"))
		want(t, "depth", s.Stats("orders", "mine#ephemeral").Depth, 1)
		c.close()
		synctest.Wait()
		want(t, "depth afterwards", s.Stats("orders", "mine#ephemeral").Depth, 0)
	})
}

// take gets message 1 to a client of a server with these options.
func take(t *testing.T, identify string, opts ...nsqxtest.ServerOption) (*nsqxtest.Server, *client) {
	t.Helper()
	s := nsqxtest.NewServer(t, opts...)
	c := subscribed(t, s, identify)
	c.send("RDY 1\n")
	s.Publish("orders", []byte("x"))
	c.want("message 1 attempt 1: x")
	return s, c
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
	bubble(t, "the server's", func(t *testing.T) {
		s, c := take(t, "", nsqxtest.WithMessageTimeout(timeout))
		expires(t, c, timeout)
		want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, InFlight: 1, TimedOut: 1})
	})
	bubble(t, "the client's", func(t *testing.T) {
		_, c := take(t, `"msg_timeout":10000`)
		expires(t, c, timeout)
	})
	bubble(t, "touched", func(t *testing.T) {
		_, c := take(t, "", nsqxtest.WithMessageTimeout(timeout))
		time.Sleep(6 * time.Second)
		c.send("TOUCH %s\n", id(1))
		synctest.Wait()
		expires(t, c, timeout)
	})
	bubble(t, "touched too often", func(t *testing.T) {
		_, c := take(t, "", nsqxtest.WithMessageTimeout(timeout), nsqxtest.WithMaxMessageTimeout(15*time.Second))
		for range 2 {
			time.Sleep(6 * time.Second)
			c.send("TOUCH %s\n", id(1))
			synctest.Wait()
		}
		expires(t, c, 3*time.Second)
	})
	bubble(t, "of a connection that is gone", func(t *testing.T) {
		s, c := take(t, "", nsqxtest.WithMessageTimeout(timeout))
		c.close()
		time.Sleep(timeout - 1)
		synctest.Wait()
		want(t, "in flight", s.Stats("orders", "billing"), nsqxtest.ChannelStats{InFlight: 1})
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		want(t, "timed out", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Depth: 1, TimedOut: 1})
	})
}

func TestAnswers(t *testing.T) {
	bubble(t, "REQ", func(t *testing.T) {
		s, c := take(t, "", nsqxtest.WithMaxRequeueTimeout(time.Minute))
		start := time.Now()
		c.send("REQ %s 0\n", id(1))
		c.want("message 1 attempt 2: x")
		c.send("REQ %s 2000\n", id(1))
		c.want()
		want(t, "deferred", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, Deferred: 1, Requeued: 2})
		time.Sleep(2 * time.Second)
		c.want("message 1 attempt 3: x")
		c.send("REQ %s 3600000\n", id(1))
		time.Sleep(time.Minute - 1)
		c.want()
		time.Sleep(time.Nanosecond)
		c.want("message 1 attempt 4: x")
		first := s.Requeues("orders", "billing")[0].ID
		want(t, "id", first.String(), id(1))
		wantList(t, "requeues", s.Requeues("orders", "billing"),
			nsqxtest.Requeue{Time: start, ID: first, Attempts: 1},
			nsqxtest.Requeue{Time: start, ID: first, Attempts: 2, Delay: 2 * time.Second},
			nsqxtest.Requeue{Time: start.Add(2 * time.Second), ID: first, Attempts: 3, Delay: time.Minute})
		want(t, "attempts", s.Attempts("orders", "billing", first), 4)
	})
	bubble(t, "a requeued message goes to the tail", func(t *testing.T) {
		s, c := take(t, "")
		s.Publish("orders", []byte("y"))
		c.send("REQ %s 0\n", id(1))
		c.want("message 2 attempt 1: y")
	})
	bubble(t, "FIN after CLS", func(t *testing.T) {
		s, c := take(t, "")
		s.Publish("orders", []byte("y"))
		c.send("CLS\nFIN %s\n", id(1))
		c.want("CLOSE_WAIT")
		finished := s.Finished("orders", "billing")
		if len(finished) != 1 || finished[0].String() != id(1) {
			t.Errorf("finished %v, want message 1", finished)
		}
		want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, Depth: 1, Finished: 1})
	})
	bubble(t, "of another connection's message", func(t *testing.T) {
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

// Messages are held back while the client could take more, and not otherwise.
func TestOutputBuffer(t *testing.T) {
	// open has a client with room for more than it gets.
	open := func(t *testing.T, identify string, opts ...nsqxtest.ServerOption) (*nsqxtest.Server, *client) {
		s := nsqxtest.NewServer(t, opts...)
		c := subscribed(t, s, identify)
		c.send("RDY 10\n")
		synctest.Wait()
		s.Publish("orders", []byte("x"))
		return s, c
	}
	after := func(d time.Duration, identify string, opts ...nsqxtest.ServerOption) func(*testing.T) {
		return func(t *testing.T) {
			s, c := open(t, identify, opts...)
			if d > 0 {
				time.Sleep(d - 1)
				c.want()
				want(t, "in flight", s.Stats("orders", "billing").InFlight, 1)
				time.Sleep(time.Nanosecond)
			}
			c.want("message 1 attempt 1: x")
		}
	}
	bubble(t, "nsqd's timeout", after(250*time.Millisecond, ""))
	bubble(t, "the server's timeout", after(time.Second, "", nsqxtest.WithOutputBuffer(1000, time.Second)))
	bubble(t, "the client's timeout", after(25*time.Millisecond, `"output_buffer_timeout":25`))
	bubble(t, "the client's size", after(0, `"output_buffer_size":-1`))
	bubble(t, "off", after(0, `"output_buffer_size":64`, nsqxtest.WithOutputBuffer(0, 0)))

	bubble(t, "no timeout", func(t *testing.T) {
		_, c := open(t, `"output_buffer_timeout":-1`)
		time.Sleep(29 * time.Second)
		c.want()
		time.Sleep(time.Second) // a heartbeat takes it along
		c.want("message 1 attempt 1: x")
	})
	bubble(t, "full", func(t *testing.T) {
		s, c := open(t, `"output_buffer_size":100`)
		c.want()
		s.Publish("orders", make([]byte, 32)) // 35 and 66 bytes of frames
		want(t, "frames", len(c.got()), 2)
	})
	bubble(t, "client is full", func(t *testing.T) {
		s, c := open(t, "")
		for range 8 {
			s.Publish("orders", []byte("x"))
		}
		c.want()
		s.Publish("orders", []byte("x"))
		want(t, "messages", len(c.got()), 10)
	})
	bubble(t, "RDY is lowered to what is in flight", func(t *testing.T) {
		_, c := open(t, "")
		c.send("RDY 2\n")
		c.want()
		c.send("RDY 1\n")
		c.want("message 1 attempt 1: x")
	})
	bubble(t, "an answer takes it along", func(t *testing.T) {
		_, c := open(t, "")
		c.send("CLS\n")
		c.want("message 1 attempt 1: x", "CLOSE_WAIT")
	})
	bubble(t, "lost with the connection", func(t *testing.T) {
		s, c := open(t, "")
		s.Disconnect()
		c.want("EOF")
		want(t, "in flight", s.Stats("orders", "billing").InFlight, 1)
	})
}
