package testnsqd

import (
	"net/http"

	"github.com/nsqio/nsq/nsqd"
)

// ChannelStats is what nsqd says of a channel.
type ChannelStats struct {
	Depth    int64  // waiting, in memory and on disk
	InFlight int    // sent to a client, without an answer yet
	Deferred int    // waiting for the delay of a REQ or DPUB
	Messages uint64 // received since nsqd started, what it read from its disk too
	Requeued uint64 // REQs since nsqd started
	TimedOut uint64 // message timeouts since nsqd started
	Clients  int    // subscribed connections
}

// Unfinished counts the messages that have not been finished.
func (c ChannelStats) Unfinished() int {
	return int(c.Depth) + c.InFlight + c.Deferred
}

// EnsureChannel makes the topic and the channel if they do not exist.
func (s *Server) EnsureChannel(topic, channel string) {
	s.tb.Helper()
	s.NSQD().GetTopic(topic).GetChannel(channel)
}

// Publish puts one message for each body into a topic, without a connection.
// While the topic has no channel, the messages wait for its first; a second
// channel gets only what is published after EnsureChannel has made it.
// It fails the test if nsqd is stopped, so it must be called from the
// goroutine of the test.
func (s *Server) Publish(topic string, bodies ...[]byte) {
	s.tb.Helper()
	t := s.NSQD().GetTopic(topic)
	for i, body := range bodies {
		if err := t.PutMessage(nsqd.NewMessage(t.GenerateID(), body)); err != nil {
			s.tb.Fatalf("testnsqd: publish message %d of %d to %s: %v", i+1, len(bodies), topic, err)
		}
	}
}

// Channel says how a channel is. It is all zero if there is no such channel.
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

// Unfinished counts the messages of all topics and channels that have not been finished. While nsqd moves a message it
// counts it nowhere.
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

// Do asks nsqd's HTTP interface for a change, such as
// "/channel/pause?topic=t&channel=c".
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

// Clients counts the connections that have subscribed or published. Those that
// have done neither are not counted.
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
