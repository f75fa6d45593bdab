package flow

import "time"

const (
	// paceRounds is the least number of recent rounds that count; at most twice as many do.
	paceRounds = 64

	// maxPace is the longest round trip derived from rounds alone, unless messages are surely old: messages
	// that arrive at regular intervals look the same.
	maxPace = 2 * time.Millisecond
)

// trip estimates the round trip time. On a busy machine, or after a change of route, rounds take
// longer than the handshake measured, and a window that waits for quick rounds would never grow. So
// the shortest of the recent single-message rounds counts, too. On a quiet topic rounds include
// waiting for the message, but the shortest of many does not include much.
type trip struct {
	handshake time.Duration
	now, last time.Duration // shortest of the current rounds and of those before
	rounds    int           // in now
	known     bool          // last is valid
}

func (t *trip) add(took time.Duration) {
	if t.rounds == paceRounds {
		t.last, t.known, t.rounds = t.now, true, 0
	}
	if t.rounds == 0 || took < t.now {
		t.now = took
	}
	t.rounds++
}

func (t *trip) min() time.Duration {
	if !t.known {
		return t.handshake
	}
	return min(t.handshake, t.now, t.last)
}

// usual returns how long a round trip takes now.
func (t *trip) usual() time.Duration { return t.upTo(maxPace) }

// upTo is usual with another limit to what is derived from rounds.
func (t *trip) upTo(pace time.Duration) time.Duration {
	if !t.known {
		return t.handshake
	}
	return max(t.min(), min(t.now, t.last, pace))
}
