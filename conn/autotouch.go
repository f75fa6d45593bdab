package conn

import (
	"container/heap"
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// schedule touches messages while their handlers run, with one timer. The timer is never postponed:
// firing once for nothing is cheaper than setting it for every message.
type schedule struct {
	terms *handler.Terms

	mu    sync.Mutex
	queue dueQueue
	timer *time.Timer // nil until needed
	set   bool        // the timer is running and fires at the instant at
	at    time.Duration
	ended bool
	ticks sync.WaitGroup // counts the times that the timer will call tick or is calling it
}

type due struct {
	m     *handler.Delivery
	at    time.Duration // of the next TOUCH
	index int           // in the queue; -1: removed
}

// KeepTouched touches m regularly until stop is called, for middleware.AutoTouch. It implements
// [handler.Toucher].
func (c *Conn) KeepTouched(m *handler.Delivery) (stop func()) { return c.schedule.add(m) }

func (s *schedule) add(m *handler.Delivery) (stop func()) {
	if !s.gains(m) {
		return func() {}
	}
	by, _ := m.AnswerBy()
	last := by + s.terms.Margin - s.terms.MessageTimeout // when m was received or last touched
	d := &due{m: m, at: last + s.period()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return func() {}
	}
	heap.Push(&s.queue, d)
	if !s.set || d.at < s.at {
		s.setTimer(d.at)
	}
	return func() { s.remove(d) }
}

func (s *schedule) remove(d *due) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.index >= 0 {
		heap.Remove(&s.queue, d.index)
	}
}

// period leaves at least a quarter of the message timeout for the answer.
func (s *schedule) period() time.Duration { return s.terms.MessageTimeout / 2 }

// gains reports whether a TOUCH would give m more time.
func (s *schedule) gains(m *handler.Delivery) bool {
	by, expires := m.AnswerBy()
	if !expires || m.Claimed() || by <= s.terms.Now() {
		return false
	}
	longest := s.terms.MaxMessageTimeout
	return longest <= 0 || by < m.Received().Sub(s.terms.Start)+longest-s.terms.Margin
}

func (s *schedule) tick() {
	defer s.ticks.Done()
	for _, m := range s.next() {
		_ = m.Message().Touch() // a message that was just settled or lost needs no TOUCH
	}
}

// next returns the messages due and sets the timer.
func (s *schedule) next() (msgs []*handler.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = false
	now := s.terms.Now()
	for len(s.queue) > 0 && s.queue[0].at <= now {
		d := s.queue[0]
		if !s.gains(d.m) {
			heap.Pop(&s.queue)
			continue
		}
		d.at = now + s.period()
		heap.Fix(&s.queue, 0)
		msgs = append(msgs, d.m)
	}
	if len(s.queue) > 0 {
		s.setTimer(s.queue[0].at)
	}
	return msgs
}

// setTimer requires s.mu. A running tick waits for s.mu, so it is counted before it ends.
func (s *schedule) setTimer(at time.Duration) {
	s.set, s.at = true, at
	in := at - s.terms.Now()
	if s.timer == nil {
		s.timer = time.AfterFunc(in, s.tick)
		s.ticks.Add(1)
	} else if !s.timer.Reset(in) {
		s.ticks.Add(1)
	}
}

// end empties the schedule permanently and waits for running ticks.
func (s *schedule) end() {
	s.mu.Lock()
	s.ended = true
	for _, d := range s.queue {
		d.index = -1
	}
	s.queue = nil
	if s.timer != nil && s.timer.Stop() {
		s.ticks.Done()
	}
	s.mu.Unlock()
	s.ticks.Wait()
}

// dueQueue is a [heap.Interface] whose first element is due first.
type dueQueue []*due

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at < q[j].at }

func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *dueQueue) Push(x any) {
	d := x.(*due)
	d.index = len(*q)
	*q = append(*q, d)
}

func (q *dueQueue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	d.index = -1
	return d
}
