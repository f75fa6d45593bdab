package flow

// Size measures how large messages are of late. They may become large from one to the next: what has come since the last tick
// counts for itself, if it is larger. The zero value has measured nothing.
type Size struct{ past, now bodies }

type bodies struct{ messages, bytes float64 }

func (b bodies) mean() float64 { return b.bytes / max(b.messages, 1e-9) }

// Add adds messages that have come.
func (s *Size) Add(messages, bytes uint64) {
	s.now.messages += float64(messages)
	s.now.bytes += float64(bytes)
}

// Fade is to be called each [Tick]. What has come last stays, however long ago it was.
func (s *Size) Fade() {
	s.past.messages += s.now.messages
	s.past.bytes += s.now.bytes
	s.now = bodies{}
	if s.past.messages > 1 {
		s.past.messages *= fade
		s.past.bytes *= fade
	}
}

// Fit is how many messages are as large as so many bytes, at least 1; limit if that is less, or nothing was measured.
func (s *Size) Fit(bytes, limit int) int {
	mean := max(s.past.mean(), s.now.mean())
	if mean == 0 {
		return limit
	}
	return int(min(max(float64(bytes)/mean, 1), float64(limit)))
}
