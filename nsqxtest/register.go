package nsqxtest

import (
	"maps"
	"slices"
)

// join makes the server known to its nsqlookupds.
func (s *Server) join() {
	s.mu.Lock()
	defer s.unlock()
	for _, l := range s.cfg.lookupds {
		l.mu.Lock()
		l.servers = append(l.servers, s)
		l.mu.Unlock()
	}
	s.registerAll()
}

// registerAll registers the server with all its topics and channels. The caller holds s.mu.
func (s *Server) registerAll() { s.register(slices.Collect(maps.Keys(s.topics))...) }

// register registers topics and their channels. An nsqlookupd that does not know the server learns
// of all its topics. The caller holds s.mu.
func (s *Server) register(topics ...string) {
	if s.stopped || s.closed {
		return
	}
	for _, l := range s.cfg.lookupds {
		l.mu.Lock()
		if !l.stopped {
			known := l.producers[s]
			if known == nil {
				known = make(map[string]bool)
				l.producers[s] = known
				topics = slices.Collect(maps.Keys(s.topics))
			}
			for _, topic := range topics {
				known[topic] = true
				l.create(topic, slices.Collect(maps.Keys(s.topics[topic].channels))...)
			}
		}
		l.mu.Unlock()
	}
}

// unregister is the end of the connections to the nsqlookupds: they forget the server, but not its
// topics. The caller holds s.mu.
func (s *Server) unregister() {
	for _, l := range s.cfg.lookupds {
		l.mu.Lock()
		delete(l.producers, s)
		l.mu.Unlock()
	}
}

// askForChannels returns the channels that the nsqlookupds know of a topic. The caller holds s.mu.
func (s *Server) askForChannels(topic string) (channels []string) {
	for _, l := range s.cfg.lookupds {
		l.mu.Lock()
		if !l.stopped && !l.hangs {
			for channel := range l.topics[topic] {
				if !isEphemeral(channel) {
					channels = append(channels, channel)
				}
			}
		}
		l.mu.Unlock()
	}
	slices.Sort(channels)
	return channels
}
