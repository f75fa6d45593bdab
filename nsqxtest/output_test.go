package nsqxtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

// The server buffers messages only while in flight < RDY.
func TestOutputBuffer(t *testing.T) {
	// open publishes one message to a client with RDY 10.
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
				check.Want(t, "in flight", s.Stats("orders", "billing").InFlight, 1)
				time.Sleep(time.Nanosecond)
			}
			c.want("message 1 attempt 1: x")
		}
	}
	check.Bubble(t, "default timeout of nsqd", after(250*time.Millisecond, ""))
	check.Bubble(t, "timeout of the server", after(time.Second, "", nsqxtest.WithOutputBuffer(1000, time.Second)))
	check.Bubble(t, "timeout of the client", after(25*time.Millisecond, `"output_buffer_timeout":25`))
	check.Bubble(t, "size of the client", after(0, `"output_buffer_size":-1`))
	check.Bubble(t, "off", after(0, `"output_buffer_size":64`, nsqxtest.WithOutputBuffer(0, 0)))

	check.Bubble(t, "no timeout", func(t *testing.T) {
		_, c := open(t, `"output_buffer_timeout":-1`)
		time.Sleep(29 * time.Second)
		c.want()
		time.Sleep(time.Second) // a heartbeat flushes the buffer
		c.want("message 1 attempt 1: x")
	})
	check.Bubble(t, "buffer full", func(t *testing.T) {
		s, c := open(t, `"output_buffer_size":100`)
		c.want()
		s.Publish("orders", make([]byte, 32)) // frames of 35 and 66 bytes
		check.Want(t, "frames", len(c.got()), 2)
	})
	check.Bubble(t, "in flight reaches RDY", func(t *testing.T) {
		s, c := open(t, "")
		for range 8 {
			s.Publish("orders", []byte("x"))
		}
		c.want()
		s.Publish("orders", []byte("x"))
		check.Want(t, "messages", len(c.got()), 10)
	})
	check.Bubble(t, "RDY lowered to the messages in flight", func(t *testing.T) {
		_, c := open(t, "")
		c.send("RDY 2\n")
		c.want()
		c.send("RDY 1\n")
		c.want("message 1 attempt 1: x")
	})
	check.Bubble(t, "an answer flushes", func(t *testing.T) {
		_, c := open(t, "")
		c.send("CLS\n")
		c.want("message 1 attempt 1: x", "CLOSE_WAIT")
	})
	check.Bubble(t, "lost with the connection", func(t *testing.T) {
		s, c := open(t, "")
		s.Disconnect()
		c.want("EOF")
		check.Want(t, "in flight", s.Stats("orders", "billing").InFlight, 1)
	})
}
