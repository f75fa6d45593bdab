package pool

import (
	"time"

	"github.com/nsqx/nsqx/handler"
)

// counts are numbers of messages by disposition.
type counts [handler.Lost + 1]uint64

// add adds what w has settled.
func (c *counts) add(w *worker) {
	for d := range c {
		c[d] += w.settled[d].Load() + w.acked[d].Load()
	}
}

// Snapshot is the state of a Pool at about one instant.
type Snapshot struct {
	Workers      int                 // that have not ended
	Idle         int                 // workers that wait for a message
	Running      []*handler.Delivery // messages that are being handled
	Waiting      int                 // messages that wait, those in batches included
	Oldest       *handler.Delivery   // of those that wait; nil if none does. A worker may take it at any time
	OverCapacity bool                // a message found no room, and half of the capacity still waits

	Results   uint64        // messages settled by workers, those included whose FIN is not sent yet
	Finished  uint64        // of these, those whose handlers succeeded
	GivenBack uint64        // messages that nsqd was given back because no worker came for them
	Early     uint64        // messages that came before their time
	BusyTime  time.Duration // of all workers together, running handlers included
}

// Snapshot returns the pool's state.
func (p *Pool) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Snapshot{Workers: len(p.all), Finished: p.finished, GivenBack: p.givenBack.Load(), Early: p.early.Load()}
	for _, n := range p.settled {
		s.Results += n
	}
	q := p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range p.all {
		s.Results += w.results()
		s.Finished += w.finished()
		if m := w.current(); m != nil {
			s.Running = append(s.Running, m)
		}
	}
	s.Idle = len(q.asleep) + q.woken
	s.Waiting = q.deque.n + q.reserved()
	s.Oldest = q.oldest()
	q.overCapacity = q.overCapacity && (q.deque.n > q.capacity.messages/2 || q.deque.bytes > q.capacity.bytes/2)
	s.OverCapacity = q.overCapacity
	q.busyTime.add(0)
	s.BusyTime = q.busyTime.total
	return s
}

// Counts returns how many messages ended in each disposition, once nsqd was told of them.
func (p *Pool) Counts() map[handler.Disposition]uint64 {
	p.mu.Lock()
	c := p.settled
	for _, w := range p.all {
		c.add(w)
	}
	p.mu.Unlock()
	all := make(map[handler.Disposition]uint64, len(c))
	for d := range c {
		all[handler.Disposition(d)] = c[d] + p.skipped[d].Load()
	}
	return all
}

// oldest returns the message that has waited longest. The caller holds mu.
func (q *queue) oldest() *handler.Delivery {
	oldest := q.deque.oldest()
	if !q.hasReserved {
		return oldest
	}
	for _, b := range q.batches {
		if _, m := b.waiting(); m != nil && (oldest == nil || m.Received().Before(oldest.Received())) {
			oldest = m
		}
	}
	return oldest
}
