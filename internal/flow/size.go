package flow

// Size measures the size of recent messages. Since sizes may jump, the messages of the current tick
// count alone if their mean is larger. The zero value has no measurements.
type Size struct{ past, now bodies }

type bodies struct{ messages, bytes float64 }

func (b bodies) mean() float64 { return b.bytes / max(b.messages, 1e-9) }

// Add adds received messages and the bytes of their bodies.
func (s *Size) Add(messages, bytes uint64) {
	s.now.messages += float64(messages)
	s.now.bytes += float64(bytes)
}

// Fade must be called each [Tick]. The last message received keeps its weight, however old it is.
func (s *Size) Fade() {
	s.past.messages += s.now.messages
	s.past.bytes += s.now.bytes
	s.now = bodies{}
	if s.past.messages > 1 {
		s.past.messages *= fade
		s.past.bytes *= fade
	}
}

// Fit returns how many messages fit into the given number of bytes, between 1 and limit; limit if
// nothing was measured.
func (s *Size) Fit(bytes, limit int) int {
	mean := max(s.past.mean(), s.now.mean())
	if mean == 0 {
		return limit
	}
	return int(min(max(float64(bytes)/mean, 1), float64(limit)))
}
