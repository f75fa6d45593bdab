package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"github.com/nsqx/nsqx/contrib/gonsq"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// goNSQConsumer is what consumers of go-nsq and of contrib/gonsq have in common.
type goNSQConsumer interface {
	AddConcurrentHandlers(h nsq.Handler, n int)
	ConnectToNSQD(addr string) error
	ChangeMaxInFlight(n int)
	IsStarved() bool
	Stats() *nsq.ConsumerStats
	Stop()
}

// goNSQKinds make a consumer of each kind.
var goNSQKinds = map[string]func(cfg *nsq.Config) (c goNSQConsumer, stopped chan int, err error){
	"go-nsq": func(cfg *nsq.Config) (goNSQConsumer, chan int, error) {
		c, err := nsq.NewConsumer(topic, channel, cfg)
		if err != nil {
			return nil, nil, err
		}
		c.SetLogger(nil, 0)
		return c, c.StopChan, nil
	},
	"gonsq": func(cfg *nsq.Config) (goNSQConsumer, chan int, error) {
		c, err := gonsq.NewConsumer(topic, channel, cfg)
		if err != nil {
			return nil, nil, err
		}
		c.SetLogger(nil, 0)
		return c, c.StopChan, nil
	},
}

// eachGoNSQ runs f with a consumer of each kind that is not connected, and an nsqd of its own.
func eachGoNSQ(t *testing.T, set func(*nsq.Config), f func(t *testing.T, s *testnsqd.Server, c goNSQConsumer, stopped chan int)) {
	t.Parallel()
	for name, newConsumer := range goNSQKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t)
			s.EnsureChannel(topic, channel)
			cfg := nsq.NewConfig()
			set(cfg)
			c, stopped, err := newConsumer(cfg)
			if err != nil {
				t.Fatal(err)
			}
			f(t, s, c, stopped)
			c.Stop()
			receive(t, stopped, "StopChan")
		})
	}
}

func handleWith(t *testing.T, c goNSQConsumer, s *testnsqd.Server, h nsq.Handler, n int) {
	t.Helper()
	c.AddConcurrentHandlers(h, n)
	if err := c.ConnectToNSQD(s.Addr()); err != nil {
		t.Fatal(err)
	}
}

// recorder notes what a handler sees, and what it is told to give up.
type recorder struct {
	mu     sync.Mutex
	seen   []string
	handle func(m *nsq.Message) error
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, fmt.Sprintf(format, args...))
}

func (r *recorder) HandleMessage(m *nsq.Message) error {
	r.note("%s/%d", m.Body, m.Attempts)
	return r.handle(m)
}

func (r *recorder) LogFailedMessage(m *nsq.Message) { r.note("%s failed at %d", m.Body, m.Attempts) }

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.seen)
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// TestGoNSQAnswers: all kinds of answers mean the same.
func TestGoNSQAnswers(t *testing.T) {
	eachGoNSQ(t, func(cfg *nsq.Config) {
		cfg.MaxAttempts, cfg.DefaultRequeueDelay, cfg.MaxInFlight = 3, 10*time.Millisecond, 5
		cfg.MaxBackoffDuration = 0
	}, func(t *testing.T, s *testnsqd.Server, c goNSQConsumer, _ chan int) {
		r := &recorder{handle: func(m *nsq.Message) error {
			first := m.Attempts == 1
			switch string(m.Body) {
			case "fails":
				return fmt.Errorf("no")
			case "fails once":
				if first {
					return fmt.Errorf("no")
				}
			case "finished and failed":
				m.Finish()
				return fmt.Errorf("no")
			case "requeued":
				if first {
					m.Requeue(20 * time.Millisecond)
					m.Finish()
				}
			case "requeued, calculated":
				if first {
					m.Requeue(-1)
				}
			case "later":
				m.DisableAutoResponse()
				time.AfterFunc(20*time.Millisecond, m.Finish)
			case "later, and failed":
				m.DisableAutoResponse()
				time.AfterFunc(20*time.Millisecond, m.Finish)
				return fmt.Errorf("no")
			}
			return nil
		}}
		handleWith(t, c, s, r, 3)
		for _, body := range []string{"ok", "fails", "fails once", "finished and failed", "requeued", "requeued, calculated", "later", "later, and failed"} {
			publish(t, s, topic, []byte(body))
		}
		const want = "fails failed at 4, fails once/1, fails once/2, fails/1, fails/2, fails/3, finished and failed/1, later, and failed/1, later/1, " +
			"ok/1, requeued, calculated/1, requeued, calculated/2, requeued/1, requeued/2"
		eventually(t, func() bool { return r.String() == want && s.Channel(topic, channel).Unfinished() == 0 }, "the handler to see %q", want)
		eventually(t, func() bool { return c.Stats().MessagesFinished == 8 && c.Stats().MessagesRequeued == 6 }, "8 to be finished")
		if n := c.Stats().Connections; n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestGoNSQHolds: one handler collects MaxInFlight messages in order, touches and answers them later.
func TestGoNSQHolds(t *testing.T) {
	eachGoNSQ(t, func(cfg *nsq.Config) { cfg.MaxInFlight, cfg.MsgTimeout = 20, time.Second }, func(t *testing.T, s *testnsqd.Server, c goNSQConsumer, stopped chan int) {
		held := make(chan *nsq.Message, 100)
		handleWith(t, c, s, nsq.HandlerFunc(func(m *nsq.Message) error {
			m.DisableAutoResponse()
			held <- m
			return nil
		}), 1)
		publish(t, s, topic, numbered("m", 40)...)
		var batch []*nsq.Message
		for i := range 20 {
			m := receive(t, held, "a message")
			if string(m.Body) != fmt.Sprintf("m-%d", i) {
				t.Errorf("%d is %s", i, m.Body)
			}
			batch = append(batch, m)
		}
		eventually(t, c.IsStarved, "the consumer to be starved")
		for range 6 {
			time.Sleep(300 * time.Millisecond)
			for _, m := range batch {
				m.Touch()
			}
		}
		if n := s.Channel(topic, channel).TimedOut; n > 0 || len(held) > 0 {
			t.Errorf("%d timed out, %d above MaxInFlight", n, len(held))
		}
		for _, m := range batch {
			m.Finish()
		}
		for range 20 {
			batch = append(batch, receive(t, held, "a message"))
		}

		// Stop waits for those that are held.
		c.Stop()
		select {
		case <-stopped:
			t.Error("stopped with 20 messages held")
		case <-time.After(300 * time.Millisecond):
		}
		for _, m := range batch[20:] {
			m.Finish()
		}
		receive(t, stopped, "StopChan")
		eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "all to be finished")
	})
}

// TestGoNSQPause: ChangeMaxInFlight(0) pauses.
func TestGoNSQPause(t *testing.T) {
	eachGoNSQ(t, func(cfg *nsq.Config) { cfg.MaxInFlight = 10 }, func(t *testing.T, s *testnsqd.Server, c goNSQConsumer, _ chan int) {
		var n atomic.Int64
		handleWith(t, c, s, nsq.HandlerFunc(func(*nsq.Message) error { n.Add(1); return nil }), 1)
		publish(t, s, topic, numbered("a", 10)...)
		eventually(t, func() bool { return n.Load() == 10 }, "10 messages")
		c.ChangeMaxInFlight(0)
		time.Sleep(200 * time.Millisecond)
		publish(t, s, topic, numbered("b", 10)...)
		time.Sleep(300 * time.Millisecond)
		if n.Load() > 11 { // nsqd may have had one in its hand
			t.Errorf("%d messages while paused", n.Load())
		}
		c.ChangeMaxInFlight(10)
		eventually(t, func() bool { return n.Load() == 20 }, "20 messages")
	})
}

// TestGoNSQTogether: go-nsq and gonsq share a channel: every message once, and equal shares.
func TestGoNSQTogether(t *testing.T) {
	t.Parallel()
	const total = 4000
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	var mu sync.Mutex
	seen := make(map[string]int)
	shares := make(map[string]int)
	var stop []func()
	for name, newConsumer := range goNSQKinds {
		cfg := nsq.NewConfig()
		cfg.MaxInFlight = 10
		c, stopped, err := newConsumer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		handleWith(t, c, s, nsq.HandlerFunc(func(m *nsq.Message) error {
			time.Sleep(2 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			seen[string(m.Body)]++
			shares[name]++
			return nil
		}), 10)
		stop = append(stop, func() {
			c.Stop()
			receive(t, stopped, "StopChan")
		})
	}
	publish(t, s, topic, numbered("m", total)...)
	eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "all to be finished")
	for _, f := range stop {
		f()
	}
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%s was handled %d times", body, n)
		}
	}
	if len(seen) != total {
		t.Errorf("%d messages were handled", len(seen))
	}
	if a, b := shares["go-nsq"], shares["gonsq"]; a < total*4/10 || b < total*4/10 {
		t.Errorf("shares of %d and %d", a, b)
	}
}

// producersAt returns how many nsqds a nsqlookupd names for the topic.
func producersAt(t *testing.T, l *testnsqd.Lookupd) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + l.HTTPAddr() + "/lookup?topic=" + topic)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Producers []any }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return len(answer.Producers)
}

// TestGoNSQLookupd: the call returns when all nsqds of a nsqlookupd are connected.
func TestGoNSQLookupd(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t)
	a, b := testnsqd.Start(t, l.Register), testnsqd.Start(t, l.Register)
	a.EnsureChannel(topic, channel)
	b.EnsureChannel(topic, channel)
	eventually(t, func() bool { return producersAt(t, l) == 2 }, "two nsqds to register")
	cfg := gonsq.NewConfig()
	cfg.LookupdPollInterval = 100 * time.Millisecond
	c, err := gonsq.NewConsumer(topic, channel, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.SetLogger(nil, 0)
	var n atomic.Int64
	c.AddHandler(gonsq.HandlerFunc(func(*gonsq.Message) error { n.Add(1); return nil }))
	if err := c.ConnectToNSQLookupds([]string{l.HTTPAddr()}); err != nil {
		t.Fatal(err)
	}
	if n := c.Stats().Connections; n != 2 {
		t.Errorf("%d connections when the call has returned", n)
	}
	publish(t, a, topic, numbered("a", 10)...)
	publish(t, b, topic, numbered("b", 10)...)
	eventually(t, func() bool { return n.Load() == 20 }, "20 messages")
	c.Stop()
	receive(t, c.StopChan, "StopChan")
}
