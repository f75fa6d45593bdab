package nsqxtest

import (
	"slices"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ChannelStats is the state of a channel, and what has become of its messages.
type ChannelStats struct {
	Depth       int // messages that wait for a client
	InFlight    int // messages with a client
	Deferred    int // messages that wait for the end of a delay
	Subscribers int // connections
	Paused      bool

	Finished int // by FIN
	Requeued int // by REQ
	TimedOut int // not answered in time, and so delivered again
}

// Requeue is a REQ.
type Requeue struct {
	Time     time.Time
	ID       handler.ID
	Attempts uint16        // of the delivery that it has ended
	Delay    time.Duration // as it is in force: at most the server's --max-req-timeout
}

// Stats returns the state of a channel; the zero value if there is none of the name. What waits in a topic that has no
// channel yet is the Depth of the channel "".
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

// find returns a channel, nil if there is none of the name. The caller holds s.mu.
func (s *Server) find(topic, channel string) *channel {
	if t := s.topics[topic]; t != nil {
		return t.channels[channel]
	}
	return nil
}

// Await waits until the state of a channel is as until wants it, and returns it. It fails the test, from whose goroutine it
// must be called, when that takes longer than [WithPatience].
func (s *Server) Await(topic, channel string, until func(ChannelStats) bool) ChannelStats {
	s.tb.Helper()
	var stats ChannelStats
	if !s.wait(s.cfg.patience, func() bool {
		stats = s.stats(topic, channel)
		return until(stats)
	}) {
		s.tb.Fatalf("nsqxtest: %s: %s/%s has not come to what was awaited within %v: %+v", s.cfg.addr, topic, channel, s.cfg.patience, stats)
	}
	return stats
}

// Finished returns the ids of the messages of a channel that were finished, in that order.
func (s *Server) Finished(topic, channel string) []handler.ID {
	s.mu.Lock()
	defer s.unlock()
	if ch := s.find(topic, channel); ch != nil {
		return slices.Clone(ch.finished)
	}
	return nil
}

// Requeues returns what was requeued in a channel, in that order.
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

// Commands returns what clients have sent, in the order in which it was read: the commands of these names, or all.
func (s *Server) Commands(names ...string) []Command {
	return s.CommandsWhere(func(cmd Command) bool { return len(names) == 0 || slices.Contains(names, cmd.Name) })
}

// CommandsWhere returns the commands that match wants.
func (s *Server) CommandsWhere(match func(Command) bool) []Command {
	s.mu.Lock()
	all := slices.Clone(s.log)
	s.unlock()
	return slices.DeleteFunc(all, func(cmd Command) bool { return !match(cmd) })
}

// Pause stops the deliveries of a channel, as POST /channel/pause does. The channel is made if there is none of the name.
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
