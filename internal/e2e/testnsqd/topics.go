package testnsqd

import (
	"net/http"

	"github.com/nsqio/nsq/nsqd"
)

// ChannelStats is nsqd's state of a channel.
type ChannelStats struct {
	Depth    int64  // waiting, in memory and on disk
	InFlight int    // sent to a client, unanswered
	Deferred int    // waiting for the delay of a REQ or DPUB
	Messages uint64 // received since nsqd started, including those read from disk
	Requeued uint64 // REQs since nsqd started
	TimedOut uint64 // message timeouts since nsqd started
	Clients  int    // subscribed connections
}

// Unfinished returns the number of messages that are not finished.
func (c ChannelStats) Unfinished() int {
	return int(c.Depth) + c.InFlight + c.Deferred
}

// EnsureChannel creates the topic and the channel if they do not exist.
func (s *Server) EnsureChannel(topic, channel string) {
	s.tb.Helper()
	s.NSQD().GetTopic(topic).GetChannel(channel)
}

// Publish publishes one message for each body, without a connection. While the topic has no
// channel, its messages wait for the first; a second channel gets only messages published after
// EnsureChannel has created it. Publish fails the test if nsqd is stopped, so call it from the
// test's goroutine.
func (s *Server) Publish(topic string, bodies ...[]byte) {
	s.tb.Helper()
	t := s.NSQD().GetTopic(topic)
	for i, body := range bodies {
		if err := t.PutMessage(nsqd.NewMessage(t.GenerateID(), body)); err != nil {
			s.tb.Fatalf("testnsqd: publish message %d of %d to %s: %v", i+1, len(bodies), topic, err)
		}
	}
}

// Channel returns the state of a channel, or zeros if there is no such channel.
func (s *Server) Channel(topic, channel string) ChannelStats {
	s.tb.Helper()
	for _, t := range s.NSQD().GetStats(topic, channel, false).Topics {
		for _, c := range t.Channels {
			return channelStats(c)
		}
	}
	return ChannelStats{}
}

func channelStats(c nsqd.ChannelStats) ChannelStats {
	return ChannelStats{
		Depth:    c.Depth,
		InFlight: c.InFlightCount,
		Deferred: c.DeferredCount,
		Messages: c.MessageCount,
		Requeued: c.RequeueCount,
		TimedOut: c.TimeoutCount,
		Clients:  c.ClientCount,
	}
}

// Unfinished returns the number of unfinished messages of all topics and channels. nsqd counts a
// message nowhere while it moves it.
func (s *Server) Unfinished() (n int) {
	s.tb.Helper()
	for _, t := range s.NSQD().GetStats("", "", false).Topics {
		n += int(t.Depth)
		for _, c := range t.Channels {
			n += channelStats(c).Unfinished()
		}
	}
	return n
}

// Do posts a command to nsqd's HTTP interface, such as "/channel/pause?topic=t&channel=c".
func (s *Server) Do(command string) {
	s.tb.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startTimeout}
	res, err := client.Post("http://"+s.http+command, "", nil)
	if err != nil {
		s.tb.Fatalf("testnsqd: %v", err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.tb.Fatalf("testnsqd: %s: %s", command, res.Status)
	}
}

// Clients returns the number of connections that have subscribed or published.
func (s *Server) Clients() int {
	s.tb.Helper()
	stats := s.NSQD().GetStats("", "", true)
	n := len(stats.Producers)
	for _, t := range stats.Topics {
		for _, c := range t.Channels {
			n += c.ClientCount
		}
	}
	return n
}
