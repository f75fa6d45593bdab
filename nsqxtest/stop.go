package nsqxtest

import (
	"cmp"
	"slices"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/pipe"
)

// Stop stops the server like an nsqd that gets SIGTERM: it ends all connections, refuses dials, and
// its nsqlookupds forget it. Messages in flight return to the queue, and so do deferred messages,
// which lose their delay. Topics, channels and attempts stay.
//
// What [Server.Publish] publishes to a stopped server waits for [Server.Start].
func (s *Server) Stop() { s.stop((*channel).flush) }

// Kill is Stop like kill -9, for an nsqd whose queues are on disk: messages in flight and deferred
// messages are lost.
func (s *Server) Kill() { s.stop(func(*channel) {}) }

// Start starts a server that was stopped or killed, under a new address unless addr is empty. It
// registers at its nsqlookupds at once.
func (s *Server) Start(addr string) {
	s.mu.Lock()
	defer s.unlock()
	if !s.stopped || s.closed {
		return
	}
	s.stopped = false
	addr = lookup.Form(cmp.Or(addr, s.Addr()))
	s.addr.Store(&addr)
	s.registerAll()
	s.change.Broadcast()
}

// stop ends the server; flush saves what is not in the queue of a channel.
func (s *Server) stop(flush func(*channel)) {
	s.mu.Lock()
	defer s.unlock()
	if s.stopped || s.closed {
		return
	}
	s.stopped = true
	s.unregister()
	for _, c := range slices.Clone(s.conns) {
		c.cut((*pipe.Conn).Close)
	}
	for _, t := range s.topics {
		for _, ch := range t.channels {
			flush(ch)
			ch.clear()
		}
	}
	s.change.Broadcast()
}

// flush appends the messages in flight and the deferred messages to the queue, in the order in which
// they were published.
func (ch *channel) flush() {
	var saved []*message
	for _, d := range ch.inFlight {
		saved = append(saved, d.message)
	}
	for m := range ch.deferred {
		saved = append(saved, m)
	}
	slices.SortFunc(saved, func(a, b *message) int {
		return cmp.Or(cmp.Compare(a.timestamp, b.timestamp), compareIDs(a.id, b.id))
	})
	ch.queue = append(ch.queue, saved...)
}

func compareIDs(a, b handler.ID) int { return slices.Compare(a[:], b[:]) }

// clear forgets the messages in flight and the deferred messages.
func (ch *channel) clear() {
	for _, d := range ch.inFlight {
		ch.endDelivery(d)
	}
	for m, timer := range ch.deferred {
		timer.Stop()
		delete(ch.deferred, m)
	}
}
