package pool

import (
	"iter"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// counts are numbers of messages by disposition.
type counts [handler.Lost + 1]uint64

// Snapshot is the state of a Pool at about one instant.
type Snapshot struct {
	Workers      int                 // that have not ended, and those that messages may start
	Idle         int                 // workers that wait for a message, those included that have not started
	Running      []*handler.Delivery // messages that are being handled
	Parked       []*handler.Delivery // messages whose handlers have returned and answer later
	ends         []int               // of the parts of Running that one worker handles
	Waiting      int                 // messages that wait
	Reading      int                 // read loops that handle messages or write answers: Tick must look at them again
	Oldest       *handler.Delivery   // of those that wait; nil if none does. A worker may take it at any time
	OverCapacity bool                // a message found no room, and half of the capacity still waits

	Runs      uint64        // calls of handlers that have ended
	Results   uint64        // messages settled by workers, those included whose FIN is not sent yet
	Finished  uint64        // of these, those whose handlers succeeded
	GivenBack uint64        // messages that nsqd was given back because no worker came for them
	Early     uint64        // messages that came before their time
	BusyTime  time.Duration // of all workers together, running handlers included
}

// Handled are the messages of each busy worker: Running, in parts.
func (s *Snapshot) Handled() iter.Seq[[]*handler.Delivery] {
	return func(yield func([]*handler.Delivery) bool) {
		first := 0
		for _, end := range s.ends {
			if !yield(s.Running[first:end]) {
				return
			}
			first = end
		}
	}
}

// Busy returns how many workers handle messages.
func (s *Snapshot) Busy() int { return len(s.ends) }

// addBusy adds the messages that a worker handles.
func (s *Snapshot) addBusy(msgs ...*handler.Delivery) {
	s.Running = append(s.Running, msgs...)
	s.ends = append(s.ends, len(s.Running))
}

// Snapshot returns the pool's state.
func (p *Pool) Snapshot() Snapshot {
	q := p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Snapshot{Workers: len(q.all) + q.missing(), Finished: q.succeeded, GivenBack: p.givenBack.Load(), Early: p.early.Load()}
	for _, n := range q.counts {
		s.Results += n
	}
	s.Runs = q.ended
	for _, w := range q.all {
		switch {
		case w.group != nil:
			w.group.snapshot(&s)
		case w.current == nil:
		case w.leaves:
			s.Parked = append(s.Parked, &w.current[0])
		default:
			s.addBusy(&w.current[0])
		}
	}
	for _, w := range q.readers.busy {
		if w.current != nil {
			s.addBusy(&w.current[0])
		}
	}
	if q.group == nil {
		s.Runs = s.Results + uint64(len(s.Parked))
	}
	s.Idle = q.idle()
	s.Waiting = q.deque.n
	s.Reading = len(q.readers.busy) + len(q.readers.writing)
	s.Oldest = q.deque.oldest()
	q.overCapacity = q.overCapacity && (q.deque.n > q.capacity.messages/2 || q.deque.bytes > q.capacity.bytes/2)
	s.OverCapacity = q.overCapacity
	q.busyTime.add(0, time.Now())
	s.BusyTime = q.busyTime.total
	return s
}

// Counts returns how many messages ended in each disposition, once nsqd was told of them.
func (p *Pool) Counts() map[handler.Disposition]uint64 {
	p.queue.mu.Lock()
	c := p.queue.counts
	p.queue.mu.Unlock()
	all := make(map[handler.Disposition]uint64, len(c))
	for d := range c {
		all[handler.Disposition(d)] = c[d] + p.skipped[d].Load()
	}
	return all
}
