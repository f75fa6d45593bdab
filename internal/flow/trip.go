package flow

import "time"

const (
	// paceRounds is how many of the last rounds count for the pace at least; twice as many at most.
	paceRounds = 64

	// maxPace is how long a round trip is believed to take by the pace alone: messages that come at regular intervals look
	// the same.
	maxPace = 2 * time.Millisecond
)

// trip knows how long a round trip takes. The handshake has measured it a few times; but on a machine that is busy, or when the
// way has changed, every round takes longer than that, and a window that waits for quick rounds would never grow. So the shortest of
// the last rounds of a single message counts, too. On a quiet topic these have waited for the message, but the shortest
// of many has not waited for long.
type trip struct {
	handshake time.Duration
	now, last time.Duration // shortest of these rounds, and of those before
	rounds    int           // in now
	known     bool          // last is
}

// add adds a round of a single message.
func (t *trip) add(took time.Duration) {
	if t.rounds == paceRounds {
		t.last, t.known, t.rounds = t.now, true, 0
	}
	if t.rounds == 0 || took < t.now {
		t.now = took
	}
	t.rounds++
}

// min returns the shortest round trip that is possible.
func (t *trip) min() time.Duration {
	if !t.known {
		return t.handshake
	}
	return min(t.handshake, t.now, t.last)
}

// usual returns how long one takes now.
func (t *trip) usual() time.Duration {
	if !t.known {
		return t.handshake
	}
	return max(t.min(), min(t.now, t.last, maxPace))
}
