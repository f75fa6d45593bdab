package main

import (
	"fmt"
	"time"

	"github.com/nsqx/nsqx/admin"
)

// checkServices: services that do not answer, or are ill.
func checkServices(f *facts) (all []finding) {
	for _, s := range f.services {
		if s.err != nil {
			all = append(all, one("service-unreachable", warning, s.addr, s.err.Error()+". Nothing is known of its consumers.",
				"correct --service: it is a URL at which the service has the handler of package nsqxhttp")...)
		}
	}
	f.sources(func(service string, s *sourceFacts) {
		for _, reason := range []string{s.Live, s.Healthy} {
			if reason != "ok" && reason != "" {
				all = append(all, one("service-unhealthy", failure, service, s.Name+" says: "+reason, "restart it if "+service+"/livez fails; otherwise mend what it says")...)
				return
			}
		}
	})
	return all
}

// checkHeld: consumers that ask for no messages.
func checkHeld(f *facts) (all []finding) {
	f.sources(func(service string, s *sourceFacts) {
		switch {
		case s.Stats.Paused:
			all = append(all, one("consumer-paused", warning, service, s.Name+" is paused: it asks for no messages.", "call Consumer.Resume in the service, or restart it")...)
		case s.Stats.Backoff:
			all = append(all, one("breaker-open", warning, service, s.Name+" has opened its breaker: messages fail, and it tries a few alone. The last: "+s.Stats.BackoffError,
				"mend what its handlers depend on; it goes on by itself")...)
		}
	})
	return all
}

// checkConnections: connections of services that are down, and nsqlookupds that they cannot ask.
func checkConnections(f *facts) (all []finding) {
	f.sources(func(service string, s *sourceFacts) {
		for _, c := range s.Stats.Connections {
			if !c.Connected && c.LastError != "" {
				all = append(all, one("service-disconnected", warning, service, s.Name+" cannot connect to nsqd "+c.Addr+": "+c.LastError,
					"start that nsqd, open its port to the service, or take it out of the service's settings")...)
			}
		}
		for _, l := range s.Stats.Lookups {
			switch {
			case l.LastError != "":
				all = append(all, one("service-lookup", warning, service, s.Name+" cannot ask "+l.Name+": "+l.LastError,
					"start that nsqlookupd, open its port to the service, or take it out of the service's settings")...)
			case l.RegisterError != "":
				all = append(all, one("service-lookup", warning, service, s.Name+" cannot register its channel at "+l.Name+": "+l.RegisterError+". A new topic's first messages may miss it.",
					"allow POST /topic/create and /channel/create at that nsqlookupd, or set WithoutRegistration")...)
			}
		}
	})
	return all
}

// checkMaxInFlight: consumers that may hold more messages than their nsqds give them.
func checkMaxInFlight(f *facts) (all []finding) {
	f.sources(func(service string, s *sourceFacts) {
		limit := 0
		for _, c := range s.Stats.Connections {
			if c.MaxRDY <= 0 && c.Connected {
				return
			}
			limit += c.MaxRDY
		}
		if limit > 0 && s.channel() != "" && s.Stats.MaxInFlight > limit {
			all = append(all, one("max-in-flight", warning, service, fmt.Sprintf("%s may have %d messages in flight, and its nsqds give it %d.", s.Name, s.Stats.MaxInFlight, limit),
				"start nsqds with a higher --max-rdy-count, or lower WithMaxInFlight")...)
		}
	})
	return all
}

// checkOverdue: handlers that run longer than nsqd waits.
func checkOverdue(f *facts) (all []finding) {
	f.sources(func(service string, s *sourceFacts) {
		if s.Stats.Overdue == 0 {
			return
		}
		longest := 0.0
		for _, m := range s.Stats.InProgress {
			longest = max(longest, m.Age)
		}
		what := fmt.Sprintf("%d handlers of %s work on messages that nsqd has delivered elsewhere; the longest runs for %v.", s.Stats.Overdue, s.Name, seconds(longest))
		for _, n := range f.whole() {
			timeout, _ := n.options["msg_timeout"].(float64)
			most, _ := n.options["max_msg_timeout"].(float64)
			if timeout > 0 && most > 0 {
				what += fmt.Sprintf(" nsqd waits %v unless the service asks for more, at most %v.", time.Duration(timeout), time.Duration(most))
				break
			}
		}
		all = append(all, one("handlers-overdue", warning, service, what, "find what they wait for; set middleware.Timeout, WithMessageTimeout, or middleware.AutoTouch for long work; beyond nsqd's --max-msg-timeout that must be raised")...)
	})
	return all
}

// moved reports whether a channel got, delivered or finished messages between two looks. Some may then
// be on their way to a client.
func moved(a, b *admin.ChannelStats) bool {
	return a.Messages != b.Messages || a.Depth != b.Depth || a.InFlight != b.InFlight || a.Deferred != b.Deferred || a.Requeued != b.Requeued || a.TimedOut != b.TimedOut
}

// checkHolding: nsqd counts messages in flight for a channel that its clients do not hold. That is
// known if services have all clients of the channel there, and nothing has moved between the looks.
func checkHolding(f *facts) []finding {
	type key struct{ nsqd, channel string }
	var clients [2]map[key]int
	var held [2]map[key]int64
	allowed := make(map[key]int)
	for n := range 2 {
		clients[n], held[n] = make(map[key]int), make(map[key]int64)
		for _, service := range f.services {
			for _, s := range service.looks[n] {
				for _, c := range s.Stats.Connections {
					if k := (key{c.Addr, s.channel()}); c.Connected {
						clients[n][k]++
						held[n][k] += c.InFlight
						allowed[k] = max(allowed[k], c.Allowance)
					}
				}
			}
		}
	}
	if len(f.services) == 0 {
		return nil
	}
	excess := func(c *channelFacts) (n int64) {
		k := key{c.node.Addr, c.name()}
		if allowed[k] > 0 {
			return int64(allowed[k])
		}
		known := c.last.ClientCount > 0 && clients[0][k] == c.first.ClientCount && clients[1][k] == c.last.ClientCount
		if moved(&c.first, &c.last) || !known {
			return 0
		}
		return min(c.first.InFlight-held[0][k], c.last.InFlight-held[1][k])
	}
	return perChannel(f, func(c *channelFacts) bool { return excess(c) > 0 }, func(name string, all []channelFacts) finding {
		sum, at := int64(0), []string{name}
		for i := range all {
			sum += excess(&all[i])
			at = append(at, all[i].node.Addr)
		}
		return finding{"services-drift", warning, at, fmt.Sprintf("nsqd counts %d messages in flight that the services do not hold: they wait for their message timeout, or nsqd's count is wrong, as after a kill.", sum),
			"nothing if it is gone after the message timeout, or if the services are nsqx, which replaces such a connection itself; otherwise restart the consumers of the channel"}
	})
}
