package flow

import "time"

const (
	// What a round may take beyond round trips: quickly used up, slowly used up.
	quickSlack = 200 * time.Microsecond
	slowSlack  = 500 * time.Microsecond

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
// round trips' worth of messages, and 1 on a quiet topic. One that is larger than nsqd's buffer has no price, since nsqd
// writes whenever that is full; it is let grow as long as it is filled at all.
//
// Instants are counted from any fixed one. The zero Window is of size 1 and knows no round trip.
type Window struct {
	trip        trip
	grown       int           // size - 1
	beforeNudge int           // the size before the last poke, while a backlog may still be there
	opened      time.Duration // when the round began
	left        int           // messages until it ends; 0: there is no round
	narrow      bool          // the round has less room than the window would take
	quick       bool          // the round before was quick
	nudged      time.Duration // when the last poke was
}

// NewWindow returns a window for a connection whose handshake has measured a round trip.
func NewWindow(handshake time.Duration) Window { return Window{trip: trip{handshake: handshake}} }

// Size is how many messages to have room for, 1 or more.
func (w *Window) Size() int { return w.grown + 1 }

// RTT is the shortest round trip of late.
func (w *Window) RTT() time.Duration { return w.trip.min() }

// Open begins a round, unless one is under way: at an instant, RDY has made room for so many messages.
func (w *Window) Open(now time.Duration, room int) {
	if w.left > 0 || room <= 0 {
		return
	}
	w.opened, w.left = now, min(room, w.Size())
	w.narrow = room < w.Size()
}

// Arrival is a number of messages that were read together.
type Arrival struct {
	Messages int
	At       time.Duration // when they were read
	Behind   bool          // they had been there before anybody read: then it was not nsqd who took so long
}

// Received counts messages. limit is the largest window of any use; buffer is how many messages fill nsqd's.
func (w *Window) Received(a Arrival, limit, buffer int) {
	if w.left == 0 {
		return
	}
	if w.left -= a.Messages; w.left > 0 {
		return
	}
	w.left = 0
	took := a.At - w.opened
	if took < 0 {
		return // they were read before RDY was written
	}
	if w.Size() == 1 && a.At-w.nudged > w.Silence() { // else it may have been on its way before the round began
		w.trip.add(took)
	}
	w.judge(took, a.Behind || w.narrow, limit, buffer)
}

// judge draws the conclusion from a round. excused says that it was not nsqd who was slow.
func (w *Window) judge(took time.Duration, excused bool, limit, buffer int) {
	trip := w.trip.usual()
	quick, slow := 2*trip+quickSlack, 4*trip+slowSlack
	if w.Size() >= buffer {
		quick, slow = max(quick, 4*w.Silence()), max(slow, 8*w.Silence())
	}
	switch {
	case took <= quick && (w.quick || w.beforeNudge > w.Size()):
		// If it was larger before a poke, the backlog is still there, and so is its rate.
		w.grown = max(min(max(2*w.Size(), w.beforeNudge), limit), 1) - 1
		w.beforeNudge, w.quick = 0, false
	case took <= quick:
		w.quick = true
	case took > slow && !excused:
		w.grown = max(w.Size()/2, 1) - 1
		w.beforeNudge /= 2
		w.quick = false
	default:
		w.quick = false
	}
}

// Silence is for how long nothing must have been read for [Window.Nudge].
func (w *Window) Silence() time.Duration { return max(silence, 2*w.trip.usual()) }

// Nudge makes the window 1, because nothing has come for [Window.Silence] although there was room: the RDY that follows
// from that makes nsqd write what it buffers.
func (w *Window) Nudge(now time.Duration) {
	w.beforeNudge = max(w.Size(), w.beforeNudge)
	w.grown, w.left, w.quick, w.nudged = 0, 0, false, now
}
