package test

import (
	"math"
	"time"

	"github.com/nsqx/nsqx/nsqxtest"
)

// window watches a backlog while there is more of it than workers, and than nsqds: when most of them are empty, turns
// look for the others at 3 ms each.
type window struct {
	spread   int           // nsqds with messages
	from, to time.Duration // to is 0 until its end
	busy     []*busy
	last     map[*nsqxtest.Server]time.Duration // when the last message of an nsqd was started
	left     map[*nsqxtest.Server]int           // messages of an nsqd that no handler has seen
	gap      time.Duration                      // the longest that an nsqd with messages has waited
	starved  *nsqxtest.Server
	starts   map[int]int // by replica
	hangs    int         // runs that hung
}

// busy is when a worker was busy.
type busy struct{ from, to time.Duration }

// watch opens the window of the present phase. Call it before publish.
func (f *fleet) watch(p phase) *window {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.window = &window{
		spread: p.spread, from: f.now(), last: make(map[*nsqxtest.Server]time.Duration), left: make(map[*nsqxtest.Server]int), starts: make(map[int]int),
	}
	return f.window
}

// started notes a run. The caller holds f.mu.
func (w *window) started(f *fleet, replica int, rec *record) {
	if w.to != 0 {
		return
	}
	now := f.now()
	w.wait(rec.server, now)
	w.last[rec.server] = now
	w.starts[replica]++
	if rec.runs == 1 {
		w.left[rec.server]--
	}
	if f.unstarted < max(f.s.slots(), w.spread) {
		w.to = now
		for s, left := range w.left {
			if left > 0 {
				w.wait(s, now)
			}
		}
	}
}

// wait notes how long an nsqd has waited.
func (w *window) wait(s *nsqxtest.Server, now time.Duration) {
	last, ok := w.last[s]
	if !ok {
		last = w.from
	}
	if now-last > w.gap {
		w.gap, w.starved = now-last, s
	}
}

// begin notes that a worker is busy from now on. The end is for the caller to set: a handler that hangs may end after
// the phase.
func (w *window) begin(now time.Duration) *busy {
	b := &busy{now, math.MaxInt64}
	if w != nil {
		w.busy = append(w.busy, b)
	}
	return b
}

// utilisation is the part of the window in which workers were busy.
func (w *window) utilisation(workers int) float64 {
	var sum time.Duration
	for _, b := range w.busy {
		sum += max(min(b.to, w.to)-max(b.from, w.from), 0)
	}
	return float64(sum) / float64(time.Duration(workers)*(w.to-w.from))
}
