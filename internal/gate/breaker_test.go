package gate_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/gate"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

var errBill = errors.New("no credit")

// service is a breaker that opens after five failures of five results, for 1 s at first, and a
// connection whose messages it gets. For use in a bubble.
type service struct {
	*gate.Breaker
	t        *testing.T
	watching atomic.Bool
	changes  atomic.Int64
	changed  func() // what else a change causes; nil: nothing
	conn     *conn.Conn
	arrived  chan *handler.Delivery
	peer     chan *fake.Peer

	mu     sync.Mutex
	events []notify.Event
}

func newService(t *testing.T, handlers int) *service {
	s := &service{t: t, arrived: make(chan *handler.Delivery, 100), peer: make(chan *fake.Peer, 1)}
	s.Breaker = gate.NewBreaker(gate.BreakerConfig{
		Backoff:  &flow.Backoff{MinResults: 5, Failures: 0.9, Period: 10 * time.Second, First: time.Second, Max: 4 * time.Second},
		Handlers: handlers, Finished: func() uint64 { return 0 }, Watching: &s.watching, Post: s.post,
		Changed: func() {
			s.changes.Add(1)
			if s.changed != nil {
				s.changed()
			}
		},
	})
	network := fake.NewNetwork(t, func(p *fake.Peer) {
		p.Subscribe(nil)
		s.peer <- p
		new(fake.Journal).Follow(p)
	})
	c, err := conn.Dial(context.Background(), "nsqd-1:4150", conn.Config{DialContext: network.DialContext},
		&conn.Subscription{Topic: "orders", Channel: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	s.conn = c
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = c.Serve(s) // Abort ends it
	}()
	t.Cleanup(func() {
		c.Abort(nil)
		<-served
	})
	return s
}

// Deliver implements [conn.Sink].
func (s *service) Deliver(_ *conn.Conn, msgs []handler.Delivery) {
	for i := range msgs {
		s.arrived <- &msgs[i]
	}
}

func (s *service) Refused(_ *conn.Conn, err error) { s.t.Errorf("nsqd refuses an answer: %v", err) }
func (s *service) Yielded(*conn.Conn)              {}

func (s *service) post(ev notify.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, ev)
}

// deliver returns n messages that have just arrived.
func (s *service) deliver(first uint64, n int) (msgs []*handler.Delivery) {
	p := <-s.peer
	p.Raw(fake.Messages(first, n))
	s.peer <- p
	for range n {
		msgs = append(msgs, <-s.arrived)
	}
	return msgs
}

// fail makes the messages fail, and reports of how many that tells nothing.
func (s *service) fail(msgs []*handler.Delivery) (outages int) {
	for _, m := range msgs {
		if s.Failed(m, errBill) {
			outages++
		}
	}
	return outages
}

func (s *service) wantRoom(what string, n int, holds time.Duration) {
	s.t.Helper()
	room, lasts := s.Room()
	check.Want(s.t, what+": room", room, n)
	check.Want(s.t, what+": holds", lasts, holds)
}

// wantEvent takes the only event since the last call.
func (s *service) wantEvent(what string, state observe.BackoffState, delay time.Duration, failed, results int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) != 1 {
		s.t.Fatalf("%s: %d events, want 1", what, len(s.events))
	}
	ev := s.events[0]
	s.events = nil
	check.Want(s.t, what+": kind", ev.Kind, notify.Backoff)
	check.Want(s.t, what+": state", ev.State, state)
	check.Want(s.t, what+": delay", ev.Retry, delay)
	check.Want(s.t, what+": error", ev.Err, errBill)
	check.Want(s.t, what+": failed", ev.Failed, failed)
	check.Want(s.t, what+": results", ev.Results, results)
}

// TestBreaker: it opens, lets a message try, opens for longer, and closes by successes.
func TestBreaker(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 3)
		msgs := s.deliver(1, 7)
		check.Want(t, "outages before", s.fail(msgs[:4]), 0)
		s.wantRoom("closed", math.MaxInt, 0)
		check.Want(t, "changes before", s.changes.Load(), 0)
		began := time.Now()
		check.Want(t, "outage", s.fail(msgs[4:5]), 1)
		s.wantEvent("opens", observe.BackoffOpen, time.Second, 5, 5)
		s.wantRoom("open", 0, time.Second)
		check.Want(t, "watching", s.watching.Load(), true)
		level, since, err := s.State()
		check.Want(t, "level", level, 1)
		check.Want(t, "since", since, began)
		check.Want(t, "error", err, errBill)

		time.Sleep(time.Second)
		s.wantRoom("a probe", 1, time.Minute)
		s.wantEvent("lets one try", observe.BackoffProbe, 0, 5, 5)
		check.Want(t, "outages, received before the probe", s.fail(msgs[5:]), 2)
		s.wantRoom("still a probe", 1, time.Minute)
		check.Want(t, "outage, the probe", s.fail(s.deliver(0x20, 1)), 1)
		s.wantEvent("opens again", observe.BackoffOpen, 2*time.Second, 1, 1)
		s.wantRoom("open again", 0, 2*time.Second)

		time.Sleep(2 * time.Second)
		s.wantRoom("a second probe", 1, time.Minute)
		s.wantEvent("lets another try", observe.BackoffProbe, 0, 1, 1)
		changes := s.changes.Load()
		s.Succeeded()
		s.wantRoom("after a success", 2, 0)
		check.Want(t, "changes by a success", s.changes.Load(), changes+1)
		s.SetHandlers(4)
		s.Answered()
		s.wantRoom("after an answer", 3, 0)
		s.Deferred()
		s.wantRoom("after a deferral", 3, 0)
		s.Succeeded()
		s.wantEvent("closes", observe.BackoffClosed, 0, 0, 3)
		s.wantRoom("closed", math.MaxInt, 0)
		check.Want(t, "watching at last", s.watching.Load(), false)
		level, since, err = s.State()
		check.Want(t, "level at last", level, 0)
		check.Want(t, "since at last", since, time.Time{})
		check.Want(t, "error at last", err, nil)
	})
}

// TestFailedWaitsForChanged: no failure is answered before RDY is closed, also one that finds the
// breaker open while another one closes RDY.
func TestFailedWaitsForChanged(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 3)
		msgs := s.deliver(1, 6)
		s.fail(msgs[:4])
		closing := make(chan struct{})
		s.changed = func() { <-closing }
		var answered atomic.Int64
		var all sync.WaitGroup
		for _, m := range msgs[4:] {
			all.Go(func() {
				s.Failed(m, errBill)
				answered.Add(1)
			})
		}
		synctest.Wait()
		s.wantRoom("open", 0, time.Second) // mu is not held
		check.Want(t, "answered before RDY is closed", answered.Load(), 0)
		close(closing)
		all.Wait()
		check.Want(t, "changes", s.changes.Load(), 2)
	})
}

// TestNotCounted: what does not come from a connection that lasts, and what fails in the drain.
func TestNotCounted(t *testing.T) {
	for name, begin := range map[string]func(s *service){
		"connection lost": func(s *service) { s.conn.Abort(nil); synctest.Wait() },
		"drain":           func(s *service) { s.Stop() },
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newService(t, 3)
			msgs := s.deliver(1, 10)
			begin(s)
			check.Want(t, "outages", s.fail(msgs), 0)
			check.Want(t, "spared", s.Outage(msgs[0]), false)
			s.wantRoom("closed", math.MaxInt, 0)
		})
	}
	check.Bubble(t, "given to Process", func(t *testing.T) {
		s := newService(t, 3)
		for range 10 {
			check.Want(t, "outage", s.Failed(new(handler.Delivery), errBill), false)
		}
		check.Want(t, "spared", s.Outage(new(handler.Delivery)), false)
		s.wantRoom("closed", math.MaxInt, 0)
	})
}

// TestStopKeepsOpen: in the drain a failure is still known to be one of an outage.
func TestStopKeepsOpen(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 3)
		msgs := s.deliver(1, 6)
		s.fail(msgs[:5])
		s.Stop()
		check.Want(t, "outage", s.fail(msgs[5:]), 1)
		check.Want(t, "spared", s.Outage(msgs[5]), true)
	})
}

// TestNoBreaker is always open.
func TestNoBreaker(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 3)
		s.Breaker = gate.NewBreaker(gate.BreakerConfig{Watching: &s.watching})
		msgs := s.deliver(1, 10)
		check.Want(t, "outages", s.fail(msgs), 0)
		check.Want(t, "spared", s.Outage(msgs[0]), false)
		s.Answered()
		s.Deferred()
		s.SetHandlers(4)
		s.Stop()
		s.wantRoom("closed", math.MaxInt, 0)
		level, _, err := s.State()
		check.Want(t, "level", level, 0)
		check.Want(t, "error", err, nil)
	})
}

// TestPause is shut from Set(true) to Set(false), and tells of both.
func TestPause(t *testing.T) {
	var p *gate.Pause
	var told []int
	p = gate.NewPause(func() {
		n, holds := p.Room()
		check.Want(t, "holds", holds, 0)
		told = append(told, n)
	})
	n, _ := p.Room()
	check.Want(t, "room at first", n, math.MaxInt)
	p.Set(true)
	check.Want(t, "paused", p.Paused(), true)
	p.Set(false)
	check.Want(t, "paused at last", p.Paused(), false)
	check.Want(t, "told", len(told) == 2 && told[0] == 0 && told[1] == math.MaxInt, true)
}
