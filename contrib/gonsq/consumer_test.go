package gonsq

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestConsume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, nil)
		var got list[string]
		connect(t, s, c, 1, func(m *Message) error {
			got.add(fmt.Sprintf("%s %d %s %t", m.Body, m.Attempts, m.NSQDAddress, m.Timestamp > 0))
			return nil
		})
		s.Publish("orders", []byte("a"))
		s.Await("orders", "billing", finished(1))
		want(t, "message", strings.Join(got.get(), ","), "a 1 "+s.Addr()+" true")
		st := c.Stats()
		want(t, "stats", *st, ConsumerStats{MessagesReceived: 1, MessagesFinished: 1, Connections: 1})
	})
}

// TestGiveUp: a message is finished before its handler sees it once more than MaxAttempts times.
func TestGiveUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MaxAttempts, cfg.DefaultRequeueDelay = 3, time.Second })
		h := &failing{}
		c.AddHandler(h)
		if err := c.ConnectToNSQD(s.Addr()); err != nil {
			t.Fatal(err)
		}
		id := s.Publish("orders", []byte("a"))[0]
		s.Await("orders", "billing", finished(1))
		want(t, "handled", fmt.Sprint(h.attempts.get()), "[1 2 3]")
		want(t, "given up", fmt.Sprint(h.failed.get()), "[4 a]")
		var delays []time.Duration
		for _, r := range s.Requeues("orders", "billing") {
			delays = append(delays, r.Delay)
		}
		want(t, "delays", fmt.Sprint(delays), "[1s 2s 3s]")
		want(t, "deliveries", s.Attempts("orders", "billing", id), 4)
		want(t, "stats", *c.Stats(), ConsumerStats{MessagesReceived: 3, MessagesFinished: 1, MessagesRequeued: 3, Connections: 1})
	})
}

// failing is a handler that fails.
type failing struct {
	attempts list[uint16]
	failed   list[string]
	keep     bool
}

func (f *failing) HandleMessage(m *Message) error {
	f.attempts.add(m.Attempts)
	return errNo
}

func (f *failing) LogFailedMessage(m *Message) {
	f.failed.add(fmt.Sprintf("%d %s", m.Attempts, m.Body))
	if f.keep {
		m.Requeue(time.Second)
	}
}

// TestGiveUpKept: LogFailedMessage may requeue the message.
func TestGiveUpKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MaxAttempts, cfg.DefaultRequeueDelay = 1, time.Second })
		h := &failing{keep: true}
		c.AddHandler(h)
		if err := c.ConnectToNSQD(s.Addr()); err != nil {
			t.Fatal(err)
		}
		s.Publish("orders", []byte("a"))
		time.Sleep(time.Minute)
		want(t, "handled", len(h.attempts.get()), 1)
		want(t, "finished", s.Stats("orders", "billing").Finished, 0)
		if len(h.failed.get()) < 2 {
			t.Error("the message was not kept")
		}
	})
}

// TestNoMaxAttempts: 0 is no limit.
func TestNoMaxAttempts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) {
			cfg.MaxAttempts, cfg.DefaultRequeueDelay, cfg.MaxBackoffDuration = 0, time.Second, 0
		})
		h := &failing{}
		c.AddHandler(h)
		if err := c.ConnectToNSQD(s.Addr()); err != nil {
			t.Fatal(err)
		}
		s.Publish("orders", []byte("a"))
		time.Sleep(time.Hour)
		if n := len(h.attempts.get()); n < 70 {
			t.Errorf("%d attempts in an hour", n)
		}
		want(t, "given up", len(h.failed.get()), 0)
	})
}

// TestOutage: while everything fails no message is given up, whatever MaxAttempts says.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MaxAttempts, cfg.DefaultRequeueDelay, cfg.MaxInFlight = 3, time.Second, 10 })
		h := &failing{}
		c.AddConcurrentHandlers(h, 4)
		if err := c.ConnectToNSQD(s.Addr()); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			s.Publish("orders", []byte("a"))
		}
		time.Sleep(time.Hour)
		if n := len(h.failed.get()); n > 0 {
			t.Errorf("%d were given up", n)
		}
	})
}

func TestRequeueDelays(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(*Message)
		want   time.Duration
	}{
		"calculated":      {func(m *Message) { m.Requeue(-1) }, 90 * time.Second},
		"none":            {func(m *Message) { m.Requeue(0) }, 0},
		"given":           {func(m *Message) { m.Requeue(5 * time.Second) }, 5 * time.Second},
		"negative":        {func(m *Message) { m.Requeue(-5 * time.Second) }, 90 * time.Second},
		"without backoff": {func(m *Message) { m.RequeueWithoutBackoff(7 * time.Second) }, 7 * time.Second},
		"without, calc":   {func(m *Message) { m.RequeueWithoutBackoff(-1) }, 90 * time.Second},
		"twice": {func(m *Message) {
			m.Requeue(3 * time.Second)
			m.Requeue(4 * time.Second)
			m.Finish()
		}, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := nsqxtest.NewServer(t)
				c := testConsumer(t, s, nil)
				connect(t, s, c, 1, func(m *Message) error {
					if m.Attempts == 1 {
						tt.answer(m)
					}
					return nil
				})
				s.Publish("orders", []byte("a"))
				time.Sleep(2 * time.Minute)
				s.Await("orders", "billing", finished(1))
				want(t, "delay", s.Requeues("orders", "billing")[0].Delay, tt.want)
			})
		})
	}
}

// TestFinishEarly: an answer goes out although the handler runs on, and no second one is started.
func TestFinishEarly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, nil)
		var started list[string]
		connect(t, s, c, 1, func(m *Message) error {
			started.add(string(m.Body))
			m.Finish()
			m.Finish()
			time.Sleep(10 * time.Second)
			return errNo
		})
		s.Publish("orders", []byte("a"), []byte("b"))
		time.Sleep(time.Second)
		want(t, "finished", s.Stats("orders", "billing").Finished, 1)
		want(t, "started", len(started.get()), 1)
		time.Sleep(12 * time.Second)
		want(t, "finished", s.Stats("orders", "billing").Finished, 2)
		want(t, "requeued", s.Stats("orders", "billing").Requeued, 0)
		c.Stop()
		began := time.Now()
		<-c.StopChan
		if time.Since(began) < 5*time.Second {
			t.Error("Stop did not wait for a handler that had answered")
		}
	})
}

// TestDisableAutoResponse: messages are held, in order with one handler, and answered from elsewhere.
func TestDisableAutoResponse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MaxInFlight = 50 })
		var held list[*Message]
		connect(t, s, c, 1, func(m *Message) error {
			m.DisableAutoResponse()
			held.add(m)
			return errNo // no answer
		})
		var bodies [][]byte
		for i := range 120 {
			bodies = append(bodies, fmt.Appendf(nil, "%d", i))
		}
		s.Publish("orders", bodies...)
		time.Sleep(2 * time.Second)
		want(t, "held", len(held.get()), 50)
		want(t, "starved", c.IsStarved(), true)
		for i, m := range held.get() {
			want(t, "body", string(m.Body), fmt.Sprint(i))
			m.Finish()
			m.Requeue(0) // no effect
			want(t, "responded", m.HasResponded(), true)
		}
		time.Sleep(2 * time.Second)
		want(t, "finished", s.Stats("orders", "billing").Finished, 50)
		want(t, "held", len(held.get()), 100)
		for _, m := range held.get()[50:] {
			m.Finish()
		}
		time.Sleep(2 * time.Second)
		for _, m := range held.get()[100:] {
			m.Finish()
		}
		s.Await("orders", "billing", finished(120))
		time.Sleep(time.Second)
		want(t, "starved", c.IsStarved(), false)
	})
}

// TestTouch: a message is touched from outside its handler.
func TestTouch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MsgTimeout = 10 * time.Second })
		connect(t, s, c, 1, func(m *Message) error {
			m.DisableAutoResponse()
			go func() {
				for range 6 {
					time.Sleep(5 * time.Second)
					m.Touch()
				}
				m.Finish()
				m.Touch()
			}()
			return nil
		})
		s.Publish("orders", []byte("a"))
		time.Sleep(time.Minute)
		st := s.Stats("orders", "billing")
		want(t, "finished", st.Finished, 1)
		want(t, "touches", len(s.Commands("TOUCH")), 6)
	})
}

// TestStopHolds: Stop waits for held messages for 30 s, then gives them back.
func TestStopHolds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MaxInFlight = 2 })
		var held list[*Message]
		connect(t, s, c, 1, func(m *Message) error {
			m.DisableAutoResponse()
			held.add(m)
			return nil
		})
		s.Publish("orders", []byte("a"), []byte("b"), []byte("c"))
		time.Sleep(time.Second)
		c.Stop()
		c.Stop()
		began := time.Now()
		time.Sleep(5 * time.Second)
		want(t, "starved", c.IsStarved(), true)
		held.get()[0].Finish()
		<-c.StopChan
		if d := time.Since(began); d < 29*time.Second || d > 33*time.Second {
			t.Errorf("stopped after %v", d)
		}
		held.get()[1].Finish() // too late: no effect
		st := s.Stats("orders", "billing")
		want(t, "finished", st.Finished, 1)
		want(t, "held", len(held.get()), 2)
		want(t, "in flight", st.InFlight, 0)
	})
}

func TestConcurrentHandlers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MaxInFlight = 20 })
		var ran [2]list[int]
		for i := range ran {
			c.AddConcurrentHandlers(HandlerFunc(func(*Message) error {
				ran[i].add(1)
				time.Sleep(100 * time.Millisecond)
				return nil
			}), 2)
		}
		if err := c.ConnectToNSQD(s.Addr()); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			s.Publish("orders", []byte("a"))
		}
		began := time.Now()
		s.Await("orders", "billing", finished(40))
		if d := time.Since(began); d < 900*time.Millisecond || d > 2*time.Second {
			t.Errorf("4 handlers needed %v", d)
		}
		if len(ran[0].get()) == 0 || len(ran[1].get()) == 0 {
			t.Error("a handler was never called")
		}
	})
}

// TestHandlerDies: panics and Goexit are failures of the message alone.
func TestHandlerDies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.DefaultRequeueDelay = time.Second })
		connect(t, s, c, 1, func(m *Message) error {
			switch m.Attempts {
			case 1:
				m.DisableAutoResponse()
				panic("no")
			case 2:
				goexit()
			}
			return nil
		})
		s.Publish("orders", []byte("a"))
		s.Await("orders", "billing", finished(1))
		want(t, "requeued", len(s.Requeues("orders", "billing")), 2)
	})
}

func TestChangeMaxInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MaxInFlight = 0 })
		connect(t, s, c, 1, func(*Message) error { return nil })
		s.Publish("orders", []byte("a"))
		time.Sleep(time.Minute)
		want(t, "paused", s.Stats("orders", "billing").Finished, 0)
		c.ChangeMaxInFlight(10)
		s.Await("orders", "billing", finished(1))
		c.ChangeMaxInFlight(0)
		time.Sleep(time.Second)
		s.Publish("orders", []byte("b"))
		time.Sleep(time.Minute)
		want(t, "paused again", s.Stats("orders", "billing").Finished, 1)
		c.ChangeMaxInFlight(1 << 40)
		s.Await("orders", "billing", finished(2))
		c.ChangeMaxInFlight(-1)
		time.Sleep(time.Second)
		s.Publish("orders", []byte("c"))
		time.Sleep(time.Minute)
		want(t, "paused by a negative number", s.Stats("orders", "billing").Finished, 2)
	})
}

// TestMisuse: what users of go-nsq do wrong.
func TestMisuse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		nop := HandlerFunc(func(*Message) error { return nil })

		c := testConsumer(t, s, nil)
		c.Stop() // before the first connect
		<-c.StopChan
		isErr(t, "connect after Stop", c.ConnectToNSQD(s.Addr()), "consumer stopped")
		isErr(t, "lookupd after Stop", c.ConnectToNSQLookupd("a:1"), "consumer stopped")

		c = testConsumer(t, s, nil)
		isErr(t, "connect without a handler", c.ConnectToNSQD(s.Addr()), "no handlers")
		isErr(t, "lookupd without a handler", c.ConnectToNSQLookupd("a:1"), "no handlers")
		c.AddConcurrentHandlers(nop, -3)
		isErr(t, "connect with -3 handlers", c.ConnectToNSQD(s.Addr()), "no handlers")
		c.AddHandler(nil)
		isErr(t, "connect with a nil handler", c.ConnectToNSQD(s.Addr()), "got nil")

		c = testConsumer(t, s, nil)
		c.AddHandler(nop)
		c.SetBehaviorDelegate("x")
		isErr(t, "connect with a bad delegate", c.ConnectToNSQD(s.Addr()), "no DiscoveryFilter")

		c = testConsumer(t, s, nil)
		connect(t, s, c, 1, nop)
		if err := c.ConnectToNSQD(s.Addr()); err != ErrAlreadyConnected {
			t.Errorf("second connect: %v", err)
		}
		isErr(t, "faulty address", c.ConnectToNSQD("nowhere"), "address")
		func() {
			defer func() { want(t, "panic", recover(), any("already connected")) }()
			c.AddHandler(nop) // documented to panic
		}()
		want(t, "disconnect of another", c.DisconnectFromNSQD("a:1"), ErrNotConnected)
		isErr(t, "lookupd without a port", c.ConnectToNSQLookupd("http://a"), "missing port")
		c.ChangeMaxInFlight(0)
		want(t, "starved", c.IsStarved(), false)

		_, err := NewConsumer("bad topic", "c", NewConfig())
		isErr(t, "topic", err, "invalid topic name")
		_, err = NewConsumer("t", "bad channel", NewConfig())
		isErr(t, "channel", err, "invalid channel name")
		_, err = NewConsumer("t", "c", nil)
		isErr(t, "nil Config", err, "nil")
		_, err = NewConsumer("t", "c", &Config{})
		isErr(t, "Config without NewConfig", err, "NewConfig")
	})
}

// TestConnectFails: the address is not dialled again.
func TestConnectFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Refuse(true)
		c := testConsumer(t, s, nil)
		c.AddHandler(HandlerFunc(func(*Message) error { return nil }))
		err := c.ConnectToNSQDs([]string{s.Addr()})
		if _, ok := errors.AsType[*conn.Error](err); !ok {
			t.Errorf("got %v, want a conn.Error", err)
		}
		s.Refuse(false)
		dials := s.Dials()
		time.Sleep(time.Minute)
		want(t, "dials", s.Dials(), dials)
		if err := c.ConnectToNSQD(s.Addr()); err != nil {
			t.Error(err)
		}
		s.Disconnect()
		time.Sleep(time.Minute)
		want(t, "connections", c.Stats().Connections, 1)
	})
}

// TestDisconnect: an nsqd is left when its messages are answered, and may be joined again meanwhile.
func TestDisconnect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, nil)
		var held list[*Message]
		connect(t, s, c, 1, func(m *Message) error {
			m.DisableAutoResponse()
			held.add(m)
			return nil
		})
		s.Publish("orders", []byte("a"), []byte("b"))
		time.Sleep(time.Second)
		want(t, "disconnect", c.DisconnectFromNSQD(s.Addr()), nil)
		time.Sleep(5 * time.Second)
		want(t, "CLS", len(s.Commands("CLS")), 1)
		want(t, "open connections", len(s.Conns()), 1)
		held.get()[0].Finish()
		time.Sleep(time.Second)
		want(t, "finished", s.Stats("orders", "billing").Finished, 1)
		want(t, "open connections", len(s.Conns()), 0)
		want(t, "connections", c.Stats().Connections, 0)
		if err := c.ConnectToNSQD(s.Addr()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		want(t, "held", len(held.get()), 2)
		held.get()[1].Finish()
		s.Await("orders", "billing", finished(2))
	})
}
