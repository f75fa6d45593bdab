package flow

import "time"

const (
	// How much longer than its round trips a quick round may take, and a slow one must take.
	quickSlack = 200 * time.Microsecond
	slowSlack  = 500 * time.Microsecond

	// Quick rounds in a row that double a window of 1, and any other. The first step costs latency if
	// nothing more follows: a few messages that came together are no backlog.
	firstRounds, moreRounds = 4, 2

	// See waited and judge.
	old       = 50 * time.Millisecond
	surelyOld = 5 * time.Second
	oldRound  = 10 * time.Millisecond
	small     = 4

	// silence is the least time without input before a nudge. Timers of an idle process are not
	// more precise.
	silence = time.Millisecond
)

// Window determines how many messages, beyond those in flight, a connection should request.
//
// nsqd flushes at once when the client can take no more; otherwise it buffers (16 KB, 250 ms). So a
// window of 1 has the lowest latency. A large one has the highest throughput: with less than two
// round trips' worth of messages, the network is idle between an RDY and the messages that it
// brings. Beyond 1 it pays only while messages wait at nsqd.
//
// A round begins when RDY or answers have made room, and ends when as many messages as the window was
// large have arrived. Quick rounds in a row, four at size 1 and two above, double the window; a slow one
// halves it. So it settles between two and four round trips' worth of messages, and at 1 on a quiet
// topic. A window larger than nsqd's buffer costs nothing, since nsqd flushes a full buffer; it grows as
// long as it is filled at all.
//
// Instants are durations since any fixed instant. The zero Window has size 1 and no round trip
// time.
type Window struct {
	trip        trip
	buffer      int           // messages that fill nsqd's output buffer; 0 until known
	grown       int           // size - 1
	beforeNudge int           // size before the last nudge, while a backlog may remain
	opened      time.Duration // start of the round
	left        int           // messages until the round ends; 0: no round
	narrow      bool          // the round has less room than the window
	quick       int           // rounds in a row, so far
	lowered     time.Duration // when the size fell last: what comes then may have been on its way before its round began
	aged        bool          // the age of a message was noted
	agesSince   time.Duration // when youngest began
	youngest    time.Duration // least age of a message by both clocks, for up to a minute
	before      time.Duration // least age of the time before that
}

// NewWindow returns a window for a connection with the round trip time that the handshake measured.
func NewWindow(handshake time.Duration) Window { return Window{trip: trip{handshake: handshake}} }

// Size returns how many messages to make room for, at least 1.
func (w *Window) Size() int { return w.grown + 1 }

// RTT returns the shortest recent round trip.
func (w *Window) RTT() time.Duration { return w.trip.min() }

// Open begins a round, unless one is in progress: there is room for that many messages since now.
func (w *Window) Open(now time.Duration, room int) {
	if w.left > 0 || room <= 0 {
		return
	}
	w.opened, w.left = now, min(room, w.Size())
	w.narrow = room < w.Size()
}

// Arrival describes messages that were read together.
type Arrival struct {
	Messages int
	At       time.Duration // when they were read
	Behind   bool          // they had arrived before the read began: nsqd was not slow
	Age      time.Duration // since nsqd accepted the last of them, by the clocks of both
}

// Received counts messages. limit is the largest useful window; buffer is how many messages fill
// nsqd's output buffer.
func (w *Window) Received(a Arrival, limit, buffer int) {
	w.buffer = buffer
	if w.left == 0 {
		return
	}
	if w.left -= a.Messages; w.left > 0 {
		return
	}
	w.left = 0
	took := a.At - w.opened
	if took < 0 {
		return // read before RDY was written
	}
	before := w.Size()
	if before == 1 && a.At-w.lowered > w.Silence() {
		w.trip.add(took)
	}
	w.judge(took, a.Behind || w.narrow, w.waited(a.Age, a.At), limit)
	if w.Size() < before {
		w.lowered = a.At
	}
}

// waited returns how long a message has waited at nsqd, compared with the one of the last minute or two that
// has waited least: that tells how far the clocks differ, up to surelyOld. If it is younger than all before, a
// backlog shrinks, and it counts as old.
func (w *Window) waited(age, now time.Duration) time.Duration {
	if !w.aged || now-w.agesSince > time.Minute {
		if w.before = w.youngest; !w.aged {
			w.before = age
		}
		w.youngest, w.agesSince, w.aged = age, now, true
	}
	least := min(w.youngest, w.before)
	w.youngest = min(w.youngest, age)
	switch {
	case age >= surelyOld:
		return age
	case age < least:
		return old
	}
	return age - least
}

// judge adapts the window; excused means that nsqd did not cause the delay. waited is how long the last message
// of the round has waited at nsqd. If nsqd got it after it knew of the room, nothing waits there, and a small
// window of more than 1 only makes nsqd buffer, unless it is as large as that buffer. If it is old, nsqd has
// more, and a round is long only because CPUs are short.
func (w *Window) judge(took time.Duration, excused bool, waited time.Duration, limit int) {
	trip := w.trip.usual()
	switch {
	case waited >= surelyOld: // the route may have become longer since the handshake
		trip = w.trip.upTo(time.Minute)
	case w.Size() <= small && waited < old: // messages at regular intervals look like long round trips
		trip = w.trip.min()
	}
	quick, slow := 2*trip+quickSlack, 4*trip+slowSlack
	if waited >= old {
		quick, slow = max(quick, oldRound), max(slow, 4*oldRound)
	}
	if w.wide() {
		quick, slow = max(quick, w.Silence()), max(slow, 2*w.Silence())
	}
	none := w.Size() <= small && !w.wide() && waited < took-w.trip.min()
	switch {
	case none, took > slow && !excused:
		w.grown = max(w.Size()/2, 1) - 1
		w.beforeNudge /= 2
		w.quick = 0
	case took <= quick && (w.quick+1 >= w.enough() || w.beforeNudge > w.Size()):
		// If it was larger before a nudge, the backlog is still there, and so is its rate.
		w.grown = max(min(max(2*w.Size(), w.beforeNudge), limit), 1) - 1
		w.beforeNudge, w.quick = 0, 0
	case took <= quick:
		w.quick++
	default:
		w.quick = 0
	}
}

// enough is how many quick rounds in a row double the window.
func (w *Window) enough() int {
	if w.Size() == 1 {
		return firstRounds
	}
	return moreRounds
}

// wide reports whether nsqd has filled its buffer, and flushed it, before the window is used up.
func (w *Window) wide() bool { return w.buffer > 0 && w.Size() >= w.buffer }

// Silence returns how long nothing must be read before [Window.Nudge]. With a wide window the topic
// was full, and nsqd more likely waits for a CPU than for messages: a nudge that comes too early costs
// many round trips of small windows. Waiting four times as long brings a drain of four nsqds on two
// CPUs 1.3 times the rate.
func (w *Window) Silence() time.Duration {
	s := max(silence, 2*w.trip.usual())
	if w.wide() {
		s *= 4
	}
	return s
}

// Nudge sets the window to 1, because nothing arrived for [Window.Silence] although there was room.
// The lower RDY makes nsqd flush its buffer.
func (w *Window) Nudge(now time.Duration) {
	w.beforeNudge = max(w.Size(), w.beforeNudge)
	w.grown, w.left, w.quick, w.lowered = 0, 0, 0, now
}
