package main

import (
	"sync"
	"time"
)

// The modes.
const (
	pool       = "pool"
	roundRobin = "round-robin"
	all        = "all"
)

// A target that fails is left alone for firstRest, and twice as long each time that it fails again,
// up to longestRest.
const (
	firstRest   = time.Second
	longestRest = time.Minute
)

// target is a URL.
type target struct {
	url  string
	host string
	get  bool
	rest time.Duration // the last one, 0 after a success
	till time.Time     // end of the rest
}

// targets chooses which targets get a message.
type targets struct {
	mode string
	all  []*target

	mu   sync.Mutex // guards next, and rest and till of all
	next int
}

func newTargets(cfg config) *targets {
	ts := &targets{mode: cfg.mode}
	for _, url := range cfg.post {
		ts.all = append(ts.all, &target{url: url})
	}
	for _, url := range cfg.get {
		ts.all = append(ts.all, &target{url: url, get: true})
	}
	return ts
}

// choose returns the targets of a message. If all targets of a pool rest, it is the one whose rest
// ends first.
func (ts *targets) choose(now time.Time) []*target {
	if ts.mode == all {
		return ts.all
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var best *target
	for i := range ts.all {
		t := ts.all[(ts.next+i)%len(ts.all)]
		if ts.mode == roundRobin || !t.till.After(now) {
			best = t
			ts.next += i // the rotation goes on behind it
			break
		}
		if best == nil || t.till.Before(best.till) {
			best = t
		}
	}
	ts.next = (ts.next + 1) % len(ts.all)
	return []*target{best}
}

// report says whether a target works. Of failures at the same time one counts.
func (ts *targets) report(t *target, now time.Time, works bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case works:
		t.rest, t.till = 0, time.Time{}
	case !t.till.After(now):
		t.rest = min(max(2*t.rest, firstRest), longestRest)
		t.till = now.Add(t.rest)
	}
}
