package nsqxtest

import (
	"slices"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ChannelStats is the state of a channel and counts of its messages.
type ChannelStats struct {
	Depth       int // messages waiting for a client
	InFlight    int // messages in flight
	Deferred    int // messages waiting for the end of a delay
	Subscribers int // connections
	Paused      bool

	Finished int // by FIN
	Requeued int // by REQ
	TimedOut int // deliveries not answered in time
}

// Requeue is a REQ that the server has executed.
type Requeue struct {
	Time     time.Time
	ID       handler.ID
	Attempts uint16        // of the delivery that the REQ ended
	Delay    time.Duration // in effect: at most the server's --max-req-timeout
}

// Stats returns the state of a channel, or the zero value if there is no such channel. The Depth
// of channel "" is the number of messages in a topic without channels.
func (s *Server) Stats(topic, channel string) ChannelStats {
	s.mu.Lock()
	defer s.unlock()
	return s.stats(topic, channel)
}

func (s *Server) stats(topic, channel string) ChannelStats {
	if t := s.topics[topic]; channel == "" && t != nil {
		return ChannelStats{Depth: len(t.waiting)}
	}
	ch := s.find(topic, channel)
	if ch == nil {
		return ChannelStats{}
	}
	return ChannelStats{
		Depth: len(ch.queue), InFlight: len(ch.inFlight), Deferred: len(ch.deferred),
		Subscribers: len(ch.subscribers), Paused: ch.paused,
		Finished: len(ch.finished), Requeued: len(ch.requeues), TimedOut: ch.timeouts,
	}
}

// find returns a channel, or nil if there is no such channel. The caller holds s.mu.
func (s *Server) find(topic, channel string) *channel {
	if t := s.topics[topic]; t != nil {
		return t.channels[channel]
	}
	return nil
}

// Await waits until the function until returns true for the state of a channel, and returns that
// state. It fails the test after the time of [WithPatience]. Call it from the goroutine of the
// test.
func (s *Server) Await(topic, channel string, until func(ChannelStats) bool) ChannelStats {
	s.tb.Helper()
	var stats ChannelStats
	if !s.wait(s.cfg.waitTimeout, func() bool {
		stats = s.stats(topic, channel)
		return until(stats)
	}) {
		s.tb.Fatalf("nsqxtest: %s: %s/%s did not reach the awaited state within %v: %+v", s.Addr(), topic, channel, s.cfg.waitTimeout, stats)
	}
	return stats
}

// Finished returns the ids of the finished messages of a channel, in the order of their FINs.
func (s *Server) Finished(topic, channel string) []handler.ID {
	s.mu.Lock()
	defer s.unlock()
	if ch := s.find(topic, channel); ch != nil {
		return slices.Clone(ch.finished)
	}
	return nil
}

// Requeues returns the REQs of a channel, in order.
func (s *Server) Requeues(topic, channel string) []Requeue {
	s.mu.Lock()
	defer s.unlock()
	if ch := s.find(topic, channel); ch != nil {
		return slices.Clone(ch.requeues)
	}
	return nil
}

// Attempts returns how often a message was delivered in a channel.
func (s *Server) Attempts(topic, channel string, id handler.ID) int {
	s.mu.Lock()
	defer s.unlock()
	if ch := s.find(topic, channel); ch != nil {
		return int(ch.attempts[id])
	}
	return 0
}

// Commands returns the commands with one of the names, or all commands if none is given, in the
// order in which the server read them.
func (s *Server) Commands(names ...string) []Command {
	return s.CommandsWhere(func(cmd Command) bool { return len(names) == 0 || slices.Contains(names, cmd.Name) })
}

// CommandsWhere returns the commands for which match returns true, in the order in which the
// server read them.
func (s *Server) CommandsWhere(match func(Command) bool) []Command {
	s.mu.Lock()
	all := slices.Clone(s.log)
	s.unlock()
	return slices.DeleteFunc(all, func(cmd Command) bool { return !match(cmd) })
}

// Pause stops the deliveries of a channel, like POST /channel/pause. A channel that does not exist
// is created.
func (s *Server) Pause(topic, channel string) { s.pause(topic, channel, true) }

// Unpause undoes Pause.
func (s *Server) Unpause(topic, channel string) { s.pause(topic, channel, false) }

func (s *Server) pause(topic, channel string, pause bool) {
	s.mu.Lock()
	defer s.unlock()
	ch := s.topic(topic).channel(channel)
	ch.paused = pause
	ch.pump()
}
