package e2e

import (
	"context"
	"strconv"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// subscribe publishes 60 messages, and answers them by answer, or not at all if that is nil.
func (p *patient) subscribe(s *testnsqd.Server, answer func(*conn.Conn, *handler.Delivery)) {
	c := p.raw(s, answer)
	c.SetQuota(100)
	for i := range 60 {
		s.Publish(topic, []byte(strconv.Itoa(i)))
	}
	eventually(p.t, func() bool {
		st := s.Channel(topic, channel)
		return answer == nil && st.TimedOut >= 60 || st.Requeued >= 200
	}, "messages to time out or fail")
}

// idle subscribes a client that takes nothing, and publishes n messages.
func (p *patient) idle(s *testnsqd.Server, n int) {
	p.raw(s, nil)
	s.Publish(topic, numbered("m", n)...)
	eventually(p.t, func() bool { return s.Channel(topic, channel).Depth == int64(n) }, "messages to be in the channel")
}

// doubled lets an nsqd count a message in flight that is not: it has the message twice on its disk.
func (p *patient) doubled(s *testnsqd.Server) {
	s.Publish(topic, []byte("doubled"))
	eventually(p.t, func() bool { return s.Channel(topic, channel).Depth == 1 }, "the message to be in the channel")
	s.Stop()
	s.DoubleQueue(topic, channel)
	s.Restart()
	got := make(chan struct{})
	var held []*handler.Delivery
	c := p.raw(s, func(c *conn.Conn, d *handler.Delivery) {
		if held = append(held, d); len(held) == 2 { // both are in flight
			c.Finish(held[0])
			c.Finish(held[1])
			close(got)
		}
	})
	c.SetQuota(10)
	receive(p.t, got, "both")
}

// raw subscribes a client that answers messages by answer, or not at all if that is nil. It has no quota.
func (p *patient) raw(s *testnsqd.Server, answer func(*conn.Conn, *handler.Delivery)) *conn.Conn {
	c, err := conn.Dial(p.t.Context(), s.Addr(), conn.Config{}, &conn.Subscription{Topic: topic, Channel: channel, FixedRDY: true})
	if err != nil {
		p.t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = c.Serve(answering{answer})
	}()
	p.t.Cleanup(func() {
		c.Abort(context.Canceled)
		<-served
	})
	return c
}

// answering is a sink.
type answering struct {
	answer func(*conn.Conn, *handler.Delivery)
}

func (a answering) Deliver(c *conn.Conn, msgs []handler.Delivery) {
	for i := range msgs {
		if a.answer == nil {
			c.Forget(&msgs[i])
		} else {
			a.answer(c, &msgs[i])
		}
		msgs[i].Release()
	}
}

func (a answering) Refused(*conn.Conn, error) {}
func (a answering) Yielded(*conn.Conn)        {}
