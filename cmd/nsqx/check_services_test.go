package main

import (
	"testing"

	"github.com/nsqx/nsqx/admin"
)

// TestHolding: messages that may be on their way to a client, or with clients that no service has, are
// no drift.
func TestHolding(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(last *admin.ChannelStats, conns *[]connFacts)
		found  bool
	}{
		"nothing moves":     {func(*admin.ChannelStats, *[]connFacts) {}, true},
		"a backlog is read": {func(last *admin.ChannelStats, _ *[]connFacts) { last.Depth -= 50 }, false},
		"messages come":     {func(last *admin.ChannelStats, _ *[]connFacts) { last.Messages += 50 }, false},
		"some are finished": {func(last *admin.ChannelStats, _ *[]connFacts) { last.InFlight-- }, false},
		"some are requeued": {func(last *admin.ChannelStats, _ *[]connFacts) { last.Requeued++ }, false},
		"some are deferred": {func(last *admin.ChannelStats, _ *[]connFacts) { last.Deferred++ }, false},
		"another client":    {func(last *admin.ChannelStats, _ *[]connFacts) { last.ClientCount++ }, false},
		"all are held":      {func(_ *admin.ChannelStats, conns *[]connFacts) { (*conns)[0].InFlight = 10 }, false},
		"more are held":     {func(_ *admin.ChannelStats, conns *[]connFacts) { (*conns)[0].InFlight = 11 }, false},
		"not connected":     {func(_ *admin.ChannelStats, conns *[]connFacts) { (*conns)[0].Connected = false }, false},
		"another address":   {func(_ *admin.ChannelStats, conns *[]connFacts) { (*conns)[0].Addr = "localhost:4150" }, false},
	} {
		first := admin.ChannelStats{Name: "billing", Depth: 100, InFlight: 10, ClientCount: 1}
		last, conns := first, []connFacts{{Addr: "a:4150", Connected: true, InFlight: 7}}
		tt.change(&last, &conns)
		s := &serviceFacts{}
		for i := range s.looks {
			s.looks[i] = make([]sourceFacts, 1)
			s.looks[i][0].Stats.Topic, s.looks[i][0].Stats.Channel, s.looks[i][0].Stats.Connections = "orders", "billing", conns
		}
		n := &nodeFacts{Node: admin.Node{Addr: "a:4150"}}
		all := checkHolding(&facts{services: []*serviceFacts{s}, channels: []channelFacts{{n, "orders", first, last}}})
		want(t, name, len(all) == 1, tt.found)
	}
}
