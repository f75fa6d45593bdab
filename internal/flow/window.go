package flow

import "time"

const (
	// What a round may take beyond round trips: quickly used up, slowly used up.
	quickSlack = 100 * time.Microsecond
	slowSlack  = 300 * time.Microsecond

	// silence is how long a connection must be silent, at least, for a poke. A timer of an idle process is no more exact.
	silence = time.Millisecond
)

// Window finds out how many messages, beyond those in flight, one connection should ask nsqd for.
//
// nsqd sends while fewer than RDY messages are in flight. It writes at once when the client can take no more, but buffers
// (16 KB, 250 ms) while it could. So a window of 1 has the lowest latency, and a large one the highest rate: with less than two
// round trips' worth of messages the way stands empty between RDY and what it brings.
//
// The window lives in rounds. A round begins when RDY has made room, and ends when as many messages have come as the
// window was large. Two quick rounds in a row double the window, a slow one halves it: it is between two and four
// round trips' worth of messages, and 1 on a quiet topic.
//
// Instants are counted from any fixed one. The zero Window is of size 1 and knows no round trip.
type Window struct {
	RTT RTT

	grown  int           // size - 1
	before int           // the size before the last poke, while a backlog may still be there
	opened time.Duration // when the round began
	left   int           // messages until it ends; 0: there is no round
	narrow bool          // the round has less room than the window would take
	waited bool          // nsqd could send nothing when it began: its first message is a round trip away at most
	quick  bool          // the round before was quick
}

// Size is how many messages to have room for, 1 or more.
func (w *Window) Size() int { return w.grown + 1 }

// Open begins a round, unless one is under way: at an instant, RDY has made room for so many messages. blocked says that there
// was no room before.
func (w *Window) Open(now time.Duration, room int, blocked bool) {
	if w.left > 0 || room <= 0 {
		return
	}
	w.opened, w.left = now, min(room, w.Size())
	w.narrow, w.waited = room < w.Size(), blocked
}

// Received counts messages that were read at an instant. behind says that they had been there before anybody read:
// then it was not nsqd who took so long. The window grows to limit at most.
func (w *Window) Received(now time.Duration, n int, behind bool, limit int) {
	if w.left == 0 {
		return
	}
	took := now - w.opened
	if w.waited {
		w.waited = false
		w.RTT.Sample(took, now)
	}
	if w.left -= n; w.left > 0 {
		return
	}
	w.left = 0
	rtt := w.RTT.Min()
	switch {
	case took <= 2*rtt+quickSlack:
		if w.quick {
			w.grow(limit)
		}
		w.quick = !w.quick
	case took > 4*rtt+slowSlack && !w.narrow && !behind:
		w.grown = max(w.Size()/2, 1) - 1
		w.before /= 2
		w.quick = false
	default:
		w.quick = false
	}
}

// grow doubles the window. If it was that large before a poke, the backlog is still there, and so is its rate.
func (w *Window) grow(limit int) {
	size := max(2*w.Size(), w.before)
	w.before = 0
	w.grown = max(min(size, limit), 1) - 1
}

// Silence is for how long nothing must have been read for [Window.Poke].
func (w *Window) Silence() time.Duration { return max(silence, 2*w.RTT.Min()) }

// Poke makes the window 1, because nothing has come for [Window.Silence] although there was room: the RDY that follows
// from that makes nsqd write what it buffers.
func (w *Window) Poke() {
	w.before = max(w.Size(), w.before)
	w.grown, w.left, w.quick = 0, 0, false
}
