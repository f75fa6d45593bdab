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

// rounds plays n rounds that each take so long, and returns the instant after them.
func rounds(w *flow.Window, now time.Duration, n int, took time.Duration, limit int) time.Duration {
	for range n {
		w.Open(now, min(w.Size(), limit), false)
		now += took
		w.Received(now, w.Size(), false, limit)
	}
	return now
}

func wantSize(t *testing.T, w *flow.Window, want int) {
	t.Helper()
	if got := w.Size(); got != want {
		t.Errorf("the window is %d, want %d", got, want)
	}
}

// TestWindow: with a round trip of 1 ms a round is quick up to 2.1 ms, slow from 4.3 ms on.
func TestWindow(t *testing.T) {
	tests := []struct {
		name  string
		took  []time.Duration
		limit int
		want  int
	}{
		{"new", nil, 100, 1},
		{"quick once", []time.Duration{ms}, 100, 1},
		{"quick twice", []time.Duration{ms, 2*ms + 100*us}, 100, 2},
		{"quick four times", []time.Duration{ms, ms, ms, ms}, 100, 4},
		{"quick five times", []time.Duration{ms, ms, ms, ms, ms}, 100, 4},
		{"not in a row", []time.Duration{ms, 3 * ms, ms, 3 * ms, ms}, 100, 1},
		{"quick enough no more", []time.Duration{2*ms + 100*us, 2*ms + 101*us}, 100, 1},
		{"up to the share", []time.Duration{ms, ms, ms, ms, ms, ms, ms, ms}, 7, 7},
		{"share of nothing", []time.Duration{ms, ms}, 0, 1},
		{"neither", []time.Duration{ms, ms, ms, ms, 4*ms + 300*us, 4*ms + 300*us}, 100, 4},
		{"slow", []time.Duration{ms, ms, ms, ms, 4*ms + 301*us}, 100, 2},
		{"slow again", []time.Duration{ms, ms, ms, ms, time.Second, time.Second, time.Second}, 100, 1},
		{"slow between quick ones", []time.Duration{ms, time.Second, ms}, 100, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w flow.Window
			w.RTT.Sample(ms, 0)
			now := time.Duration(0)
			for _, took := range tt.took {
				now = rounds(&w, now, 1, took, tt.limit)
			}
			wantSize(t, &w, tt.want)
		})
	}
}

// TestWindowNotToBlame: a slow round halves the window only if nsqd was slow, and had the room.
func TestWindowNotToBlame(t *testing.T) {
	var w flow.Window
	w.RTT.Sample(ms, 0)
	now := rounds(&w, 0, 8, ms, 100)
	wantSize(t, &w, 16)

	w.Open(now, 16, false)
	now += time.Second
	w.Received(now, 16, true, 100)
	wantSize(t, &w, 16) // we have been slow

	w.Open(now, 8, false)
	now += time.Second
	w.Received(now, 8, false, 100)
	wantSize(t, &w, 16) // the share was used up

	w.Open(now, 16, false)
	now += time.Second
	w.Received(now, 16, false, 100)
	wantSize(t, &w, 8)
}

// TestWindowOneRound: a round goes on until its messages have come, whatever is opened meanwhile.
func TestWindowOneRound(t *testing.T) {
	var w flow.Window
	w.RTT.Sample(ms, 0)
	now := rounds(&w, 0, 4, ms, 100)
	wantSize(t, &w, 4)
	for range 2 {
		w.Open(now, 4, false)
		for range 3 {
			now += 500 * us
			w.Received(now, 1, false, 100)
			w.Open(now, 4, false)
		}
		now += 500 * us
		w.Received(now, 5, false, 100)
	}
	wantSize(t, &w, 8)

	w.Open(now, 0, true) // no room is no round
	w.Received(now+time.Hour, 100, false, 100)
	wantSize(t, &w, 8)
}

// TestPoke: the window is 1 at once, and as large as before as soon as the backlog has shown to be still there.
func TestPoke(t *testing.T) {
	var w flow.Window
	w.RTT.Sample(ms, 0)
	now := rounds(&w, 0, 12, ms, 1000)
	wantSize(t, &w, 64)
	w.Poke()
	wantSize(t, &w, 1)
	now = rounds(&w, now, 1, ms, 1000)
	wantSize(t, &w, 1)
	now = rounds(&w, now, 1, ms, 1000)
	wantSize(t, &w, 64)

	w.Poke()
	w.Poke()
	now = rounds(&w, now, 2, ms, 10)
	wantSize(t, &w, 10) // the share is less by now

	now = rounds(&w, now, 6, ms, 100)
	wantSize(t, &w, 80)
	w.Poke()
	now = rounds(&w, now, 7, time.Second, 100) // the backlog has gone
	rounds(&w, now, 2, ms, 100)
	wantSize(t, &w, 2)
}

func TestSilence(t *testing.T) {
	var w flow.Window
	for _, tt := range []struct{ rtt, want time.Duration }{{0, ms}, {100 * us, ms}, {500 * us, ms}, {20 * ms, 40 * ms}} {
		w.RTT = flow.RTT{}
		w.RTT.Sample(tt.rtt, 0)
		if got := w.Silence(); got != tt.want {
			t.Errorf("silence of %v at a round trip of %v, want %v", got, tt.rtt, tt.want)
		}
	}
}

// TestWindowMeasures: the first message after RDY was closed is a round trip away at most.
func TestWindowMeasures(t *testing.T) {
	var w flow.Window
	w.RTT.Sample(20*ms, 0)
	w.Open(time.Second, 1, false)
	w.Received(time.Second+ms, 1, false, 1)
	if got := w.RTT.Min(); got != 20*ms {
		t.Errorf("round trip %v: there was room before, the message may have been on its way", got)
	}
	w.Open(2*time.Second, 2, true)
	w.Received(2*time.Second+5*ms, 1, false, 1)
	w.Received(2*time.Second+6*ms, 1, false, 1)
	if got := w.RTT.Min(); got != 5*ms {
		t.Errorf("round trip %v, want 5ms", got)
	}
}

func TestRTT(t *testing.T) {
	var r flow.RTT
	want := func(d time.Duration) {
		t.Helper()
		if got := r.Min(); got != d {
			t.Errorf("smallest round trip %v, want %v", got, d)
		}
	}
	want(0)
	r.Sample(5*ms, 0)
	want(5 * ms)
	r.Sample(7*ms, time.Second)
	want(5 * ms)
	r.Sample(3*ms, 2*time.Second)
	want(3 * ms)
	r.Sample(9*ms, 6*time.Second)
	want(3 * ms) // of the period before
	r.Sample(8*ms, 9*time.Second)
	want(3 * ms)
	r.Sample(9*ms, 11*time.Second)
	want(8 * ms) // 3ms is too old
	r.Sample(20*ms, time.Hour)
	want(20 * ms)
}

// TestWindowFollowsTheRate is a sender at a rate, with a round trip: the window holds between two and four round trips'
// worth of messages, and 1 of a quiet topic.
func TestWindowFollowsTheRate(t *testing.T) {
	for _, tt := range []struct {
		rate     int
		rtt      time.Duration
		low, top int
	}{
		{50, 100 * us, 1, 1},
		{1000, 100 * us, 1, 1},
		{10_000, 100 * us, 2, 8},
		{1_000_000, 100 * us, 256, 1024},
		{100_000, ms, 128, 512},
		{100_000, 20 * ms, 2500, 2500},
		{760, ms, 1, 4},
		{1000, 100 * ms, 128, 512},
	} {
		t.Run(fmt.Sprint(tt.rate, " a second at ", tt.rtt), func(t *testing.T) {
			const limit = 2500
			var w flow.Window
			w.RTT.Sample(tt.rtt, 0)
			gap := time.Second / time.Duration(tt.rate)
			now := time.Duration(0)
			for range 200 {
				// With room for a whole round the sender is never held up, but for the first messages of a
				// small window: they are a round trip away.
				w.Open(now, w.Size(), false)
				took := max(time.Duration(w.Size())*gap, tt.rtt)
				now += took
				w.Received(now, w.Size(), false, limit)
			}
			if n := w.Size(); n < tt.low || n > tt.top {
				t.Errorf("the window is %d, want %d to %d", n, tt.low, tt.top)
			}
		})
	}
}
