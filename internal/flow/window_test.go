package flow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

const (
	us = time.Microsecond
	ms = time.Millisecond
)

// newWindow returns a window that has received a message which did not wait at nsqd.
func newWindow(rtt time.Duration) flow.Window {
	w := flow.NewWindow(rtt)
	w.Open(-2*time.Second, 1)
	w.Received(flow.Arrival{Messages: 1, At: -time.Second}, 100, 1<<20)
	return w
}

// rounds plays n rounds of the given duration and returns the instant after them.
func rounds(w *flow.Window, now time.Duration, n int, took time.Duration, limit int) time.Duration {
	for range n {
		w.Open(now, min(w.Size(), limit))
		now += took
		receive(w, now, w.Size(), false, limit)
	}
	return now
}

// aged plays n rounds of the given duration whose messages have an age, and returns the instant after them.
func aged(w *flow.Window, now time.Duration, n int, took, age time.Duration) time.Duration {
	for range n {
		w.Open(now, w.Size())
		now += took
		w.Received(flow.Arrival{Messages: w.Size(), At: now, Age: age}, 100, 1<<20)
	}
	return now
}

// waits is the age of messages that waited for nsqd, and are not old.
const waits = 40 * ms

// receive reads messages that have waited on a connection whose messages never fill nsqd's buffer.
func receive(w *flow.Window, now time.Duration, n int, behind bool, limit int) {
	w.Received(flow.Arrival{Messages: n, At: now, Behind: behind, Age: waits}, limit, 1<<20)
}

func wantSize(t *testing.T, w *flow.Window, want int) {
	t.Helper()
	if got := w.Size(); got != want {
		t.Errorf("the window is %d, want %d", got, want)
	}
}

// TestWindow uses a round trip of 1 ms: a round is quick up to 2.2 ms and slow above 4.5 ms.
func TestWindow(t *testing.T) {
	tests := []struct {
		name  string
		took  []time.Duration
		limit int
		want  int
	}{
		{"new", nil, 100, 1},
		{"quick once", []time.Duration{ms}, 100, 1},
		{"quick thrice", []time.Duration{ms, ms, ms}, 100, 1},
		{"quick four times", []time.Duration{ms, ms, ms, 2*ms + 200*us}, 100, 2},
		{"quick five times", []time.Duration{ms, ms, ms, ms, ms}, 100, 2},
		{"quick six times", []time.Duration{ms, ms, ms, ms, ms, ms}, 100, 4},
		{"quick seven times", []time.Duration{ms, ms, ms, ms, ms, ms, ms}, 100, 4},
		{"not in a row", []time.Duration{ms, ms, ms, 3 * ms, ms, ms, ms, 3 * ms, ms}, 100, 1},
		{"quick enough no more", []time.Duration{ms, ms, 2*ms + 200*us, 2*ms + 201*us}, 100, 1},
		{"up to the quota", []time.Duration{ms, ms, ms, ms, ms, ms, ms, ms, ms, ms}, 7, 7},
		{"quota of nothing", []time.Duration{ms, ms, ms, ms}, 0, 1},
		{"neither", []time.Duration{ms, ms, ms, ms, ms, ms, 4*ms + 500*us, 4*ms + 500*us}, 100, 4},
		{"slow", []time.Duration{ms, ms, ms, ms, ms, ms, 4*ms + 501*us}, 100, 2},
		{"slow again", []time.Duration{ms, ms, ms, ms, ms, ms, time.Second, time.Second, time.Second}, 100, 1},
		{"slow between quick ones", []time.Duration{ms, ms, ms, time.Second, ms}, 100, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWindow(ms)
			now := time.Duration(0)
			for _, took := range tt.took {
				now = rounds(&w, now, 1, took, tt.limit)
			}
			wantSize(t, &w, tt.want)
		})
	}
}

// TestWindowOfNoBacklog checks that a small window halves when nsqd got the last message of a round after it knew of
// the room, whatever the cause, since then it only makes nsqd buffer; and that a larger one does not.
func TestWindowOfNoBacklog(t *testing.T) {
	for _, tt := range []struct {
		grow   int // quick rounds, and how large the window is then
		from   int
		waited time.Duration // of the last messages of rounds that take half a millisecond longer than a round trip …
		rounds int           // … and how many, and how large it is then
		end    int
	}{
		{6, 4, 0, 1, 2},
		{6, 4, 500*us - 1, 2, 1},
		{6, 4, 500 * us, 2, 8},
		{5, 2, 0, 1, 1},
		{8, 8, 0, 2, 16},
	} {
		for _, behind := range []bool{true, false} {
			w := newWindow(ms)
			now := rounds(&w, 0, tt.grow, ms, 100)
			wantSize(t, &w, tt.from)
			for range tt.rounds {
				w.Open(now, w.Size())
				now += ms + 500*us
				w.Received(flow.Arrival{Messages: w.Size(), At: now, Behind: behind, Age: tt.waited}, 100, 1<<20)
			}
			wantSize(t, &w, tt.end)
		}
	}
}

// TestWindowSmallerBuffer checks that a window as large as nsqd's buffer, since messages are large, does not halve
// when nothing waits: nsqd does not buffer then.
func TestWindowSmallerBuffer(t *testing.T) {
	w := newWindow(ms)
	now := rounds(&w, 0, 6, ms, 100)
	for range 2 {
		w.Open(now, 4)
		now += ms + 500*us
		w.Received(flow.Arrival{Messages: 4, At: now}, 100, 4)
	}
	wantSize(t, &w, 8)
}

// TestWindowHalvedTrip checks that a message that nsqd sent by an RDY of 2 is no round trip of the round of 1
// that begins meanwhile.
func TestWindowHalvedTrip(t *testing.T) {
	w := newWindow(20 * ms)
	now := rounds(&w, time.Second, 70, 20*ms, 1)
	now = rounds(&w, now, 4, 20*ms, 2)
	wantSize(t, &w, 2)
	now = aged(&w, now, 1, 30*ms, 0)
	wantSize(t, &w, 1)
	now = rounds(&w, now, 1, ms, 100)
	if got := w.RTT(); got != 20*ms {
		t.Errorf("shortest round trip %v, want 20ms", got)
	}
	rounds(&w, now, 3, 20*ms, 100)
	wantSize(t, &w, 2)
}

// TestWindowNotToBlame checks that a slow round halves the window only if nsqd was slow and had the
// room.
func TestWindowNotToBlame(t *testing.T) {
	w := newWindow(ms)
	now := rounds(&w, 0, 10, ms, 100)
	wantSize(t, &w, 16)

	w.Open(now, 16)
	now += time.Second
	receive(&w, now, 16, true, 100)
	wantSize(t, &w, 16) // the client was slow

	w.Open(now, 8)
	now += time.Second
	receive(&w, now, 8, false, 100)
	wantSize(t, &w, 16) // the quota was used up

	w.Open(now, 16)
	now += time.Second
	receive(&w, now, 16, false, 100)
	wantSize(t, &w, 8)
}

// TestWindowOneRound checks that Open does not restart a round in progress.
func TestWindowOneRound(t *testing.T) {
	w := newWindow(ms)
	now := rounds(&w, 0, 6, ms, 100)
	wantSize(t, &w, 4)
	for range 2 {
		w.Open(now, 4)
		for range 3 {
			now += 500 * us
			receive(&w, now, 1, false, 100)
			w.Open(now, 4)
		}
		now += 500 * us
		receive(&w, now, 5, false, 100)
	}
	wantSize(t, &w, 8)

	w.Open(now, 0) // no room, no round
	receive(&w, now+time.Hour, 100, false, 100)
	wantSize(t, &w, 8)
}

// TestNudge checks that a nudge sets the window to 1, and that the old size returns once the
// backlog shows again.
func TestNudge(t *testing.T) {
	w := newWindow(ms)
	now := rounds(&w, 0, 14, ms, 1000)
	wantSize(t, &w, 64)
	w.Nudge(now)
	wantSize(t, &w, 1)
	now = rounds(&w, now, 1, ms, 1000)
	wantSize(t, &w, 64)

	w.Nudge(now)
	w.Nudge(now)
	now = rounds(&w, now, 2, ms, 10)
	wantSize(t, &w, 10) // the quota is lower now

	now = rounds(&w, now, 6, ms, 100)
	wantSize(t, &w, 80)
	w.Nudge(now)
	now = rounds(&w, now, 7, time.Second, 100) // the backlog has gone
	rounds(&w, now, 4, ms, 100)
	wantSize(t, &w, 2)
}

func TestSilence(t *testing.T) {
	for _, tt := range []struct{ rtt, want time.Duration }{{0, ms}, {100 * us, ms}, {500 * us, ms}, {20 * ms, 40 * ms}} {
		w := newWindow(tt.rtt)
		if got := w.Silence(); got != tt.want {
			t.Errorf("silence of %v at a round trip of %v, want %v", got, tt.rtt, tt.want)
		}
	}
}

// TestSilenceOfAWideWindow checks that a window as large as nsqd's buffer waits four times as long,
// until a nudge.
func TestSilenceOfAWideWindow(t *testing.T) {
	w := newWindow(20 * ms)
	rounds(&w, 0, 14, 20*ms, 64)
	wantSize(t, &w, 64)
	for buffer, want := range map[int]time.Duration{65: 40 * ms, 64: 160 * ms, 1: 160 * ms} {
		w.Received(flow.Arrival{Messages: 1, At: time.Second}, 64, buffer)
		if got := w.Silence(); got != want {
			t.Errorf("silence of %v with a buffer of %d messages, want %v", got, buffer, want)
		}
	}
	w.Received(flow.Arrival{Messages: 1, At: time.Second}, 64, 64)
	w.Nudge(2 * time.Second)
	if got := w.Silence(); got != 40*ms {
		t.Errorf("silence of %v after a nudge, want 40ms", got)
	}
}

// TestWindowLearns checks that the round trip is adjusted if every round takes longer than the
// handshake measured. The gaps of a quiet topic have no such effect: few of them are short.
func TestWindowLearns(t *testing.T) {
	w := flow.NewWindow(50 * us)
	aged(&w, 10*ms, 400, 2*ms, time.Hour)
	wantSize(t, &w, 100)
	if got := w.RTT(); got != 50*us {
		t.Errorf("shortest round trip %v", got)
	}
	w = flow.NewWindow(20 * ms)
	now := 100 * ms
	for range 200 { // rounds of a single message: the quota is 1
		now = rounds(&w, now, 1, ms, 1)
	}
	if got := w.RTT(); got != ms {
		t.Errorf("shortest round trip %v, want 1ms: the handshake was slow", got)
	}
}

// TestWindowOfYoungMessages checks that messages at regular intervals, which look like long round trips, do
// not make the window grow, unless they are old.
func TestWindowOfYoungMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		took          time.Duration
		first, others time.Duration // ages
		want          int
	}{
		"young":                           {ms, 0, 0, 1},
		"nearly old":                      {ms, 0, 50*ms - 1, 1},
		"young, by clocks that differ":    {ms, 4 * time.Second, 4 * time.Second, 1},
		"young, by a clock that is ahead": {ms, -time.Hour, -time.Hour, 1},
		"old":                             {ms, 0, 50 * ms, 100},
		"old, by clocks that differ":      {ms, -time.Hour, -time.Hour + 50*ms, 100},
		"a backlog from the start":        {ms, time.Hour, time.Hour, 100},
		"old, on a busy machine":          {10 * ms, 0, time.Second, 100},
		"old, but seldom":                 {11 * ms, 0, time.Second, 1},
		"old, on a longer route":          {28 * ms, 0, 5 * time.Second, 100},
		"round trips, indeed":             {200 * us, 0, 200 * us, 100},
		"round trips, as it seems":        {200 * us, 0, 100 * us, 1},
	} {
		w := flow.NewWindow(50 * us)
		now := aged(&w, 10*ms, 1, time.Second, tt.first)
		aged(&w, now, 500, tt.took, tt.others)
		if got := w.Size(); got != tt.want {
			t.Errorf("%s: the window is %d, want %d", name, got, tt.want)
		}
	}
}

// TestWindowOfAges checks that a backlog that shrinks counts as one, and that a clock that was set back counts
// for two minutes at most; and that clocks that drift are no backlog.
func TestWindowOfAges(t *testing.T) {
	w := flow.NewWindow(50 * us)
	now, age := 10*ms, 4900*ms // a backlog shrinks
	for range 1000 {
		now = aged(&w, now, 1, 3*ms, age)
		age -= 300 * us
	}
	wantSize(t, &w, 100)

	w = flow.NewWindow(50 * us) // a message a second, and nsqd's clock gains
	now, age = 10*ms, 0
	for range 1000 {
		now = aged(&w, now, 1, time.Second, age)
		age -= 50 * us
	}
	wantSize(t, &w, 1)

	w = flow.NewWindow(50 * us)
	now = aged(&w, 10*ms, 1000, 5*ms, 0)
	now = aged(&w, now, 30_000, 5*ms, 60*ms)
	w.Nudge(now)
	aged(&w, now, 1000, 5*ms, 60*ms)
	wantSize(t, &w, 1)
}

// TestWindowBeyondTheBuffer checks that a window larger than nsqd's buffer grows as long as it is
// filled within a few milliseconds.
func TestWindowBeyondTheBuffer(t *testing.T) {
	w := newWindow(100 * us)
	now := rounds(&w, 10*ms, 14, 100*us, 64)
	wantSize(t, &w, 64)
	play := func(took time.Duration, n int) {
		for range n {
			w.Open(now, w.Size())
			now += took
			w.Received(flow.Arrival{Messages: w.Size(), At: now}, 2500, 60)
		}
	}
	play(4*ms, 4)
	wantSize(t, &w, 256)
	play(8*ms, 4)
	wantSize(t, &w, 256)
	play(9*ms, 1)
	wantSize(t, &w, 128)
}

// TestReadBefore checks that messages read before the round began do not count.
func TestReadBefore(t *testing.T) {
	w := newWindow(ms)
	for range 10 {
		w.Open(time.Second, 1)
		receive(&w, time.Second-1, 1, false, 100)
	}
	wantSize(t, &w, 1)
}

// TestWindowFollowsTheRate plays a sender with a rate and a round trip: the window holds two to
// four round trips' worth of messages, and 1 on a quiet topic.
func TestWindowFollowsTheRate(t *testing.T) {
	for _, tt := range []struct {
		rate     int
		rtt      time.Duration
		low, top int
	}{
		{50, 100 * us, 1, 1},
		{1000, 100 * us, 1, 4},
		{10_000, 100 * us, 1, 4},
		{20_000, 100 * us, 2, 16},
		{1_000_000, 100 * us, 256, 1024},
		{100_000, ms, 128, 512},
		{100_000, 20 * ms, 2500, 2500},
		{760, ms, 1, 4},
		{1000, 100 * ms, 128, 512},
	} {
		t.Run(fmt.Sprint(tt.rate, " a second at ", tt.rtt), func(t *testing.T) {
			const limit = 2500
			w := newWindow(tt.rtt)
			gap := time.Second / time.Duration(tt.rate)
			now := time.Duration(0)
			for range 200 {
				// With room for a whole round the sender is only blocked before the first messages of a small
				// window: they are a round trip away, and wait.
				w.Open(now, w.Size())
				took, age := time.Duration(w.Size())*gap, time.Duration(0)
				if took < tt.rtt {
					took, age = tt.rtt, waits
				}
				now += took
				w.Received(flow.Arrival{Messages: w.Size(), At: now, Age: age}, limit, 1<<20)
			}
			if n := w.Size(); n < tt.low || n > tt.top {
				t.Errorf("the window is %d, want %d to %d", n, tt.low, tt.top)
			}
		})
	}
}
