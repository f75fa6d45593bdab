package discover

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// fakeSource answers with what the test sets.
type fakeSource struct {
	mu    sync.Mutex
	found []string
	err   error
	polls atomic.Int64
}

func (s *fakeSource) Discover(context.Context, string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polls.Add(1)
	return slices.Clone(s.found), s.err
}

func (s *fakeSource) set(err error, found ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found, s.err = found, err
}

// fakeOwner notes what it is told.
type fakeOwner struct {
	mu     sync.Mutex
	told   []string
	purged []time.Time
}

func (o *fakeOwner) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, what)
}

func (o *fakeOwner) Connect(addr string) { o.note("connect " + addr) }
func (o *fakeOwner) Remove(addr string)  { o.note("remove " + addr) }
func (o *fakeOwner) Redial(addr string)  { o.note("redial " + addr) }
func (o *fakeOwner) Forget(addr string)  { o.note("forget " + addr) }
func (o *fakeOwner) Post(notify.Event)   {}
func (o *fakeOwner) Polled()             {}
func (o *fakeOwner) Purge(since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.purged = append(o.purged, since)
}

func (o *fakeOwner) has(what string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Contains(o.told, what)
}

func (o *fakeOwner) purges() []time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.purged)
}

// run runs a Discovery of n sources that is asked each minute.
func run(t *testing.T, n int, f func(sources []*fakeSource, o *fakeOwner)) {
	synctest.Test(t, func(t *testing.T) {
		var sources []*fakeSource
		cfg := Config{Topic: "orders", Interval: time.Minute, Max: 10}
		for range n {
			s := &fakeSource{}
			sources, cfg.Sources = append(sources, s), append(cfg.Sources, s)
		}
		o := &fakeOwner{}
		d := New(cfg, o, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { d.Run(ctx) })
		f(sources, o)
		cancel()
		running.Wait()
	})
}

var noTopic = notice{observe.ErrNoTopic}

// TestForgetsInUsualTime: quick polls while no nsqd is named do not shorten the time in which an nsqd
// may come back.
func TestForgetsInUsualTime(t *testing.T) {
	run(t, 1, func(s []*fakeSource, o *fakeOwner) {
		s[0].set(nil, "a:1")
		time.Sleep(time.Second)
		s[0].set(nil)
		time.Sleep(2 * time.Minute) // 12 polls at least
		if n := s[0].polls.Load(); n < 12 || o.has("forget a:1") {
			t.Errorf("%d polls", n)
		}
		time.Sleep(2 * time.Minute)
		if !o.has("forget a:1") || len(o.purges()) > 0 {
			t.Errorf("forgotten %t, purged %v", o.has("forget a:1"), o.purges())
		}
	})
}

// TestDeletion: the topic was deleted when every source that named an nsqd does not know it any more,
// for the time of three polls.
func TestDeletion(t *testing.T) {
	failure := errors.New("down")
	tests := map[string]struct {
		first  [2]error // what follows good answers, each for ten minutes
		then   [2]error
		purged bool
	}{
		"no nsqd, topic known":  {[2]error{nil, nil}, [2]error{nil, nil}, false},
		"deleted at once":       {[2]error{noTopic, noTopic}, [2]error{noTopic, noTopic}, true},
		"deleted, registered":   {[2]error{noTopic, noTopic}, [2]error{nil, nil}, true},
		"deleted later":         {[2]error{nil, nil}, [2]error{noTopic, noTopic}, true},
		"one after the other":   {[2]error{noTopic, nil}, [2]error{nil, noTopic}, true},
		"one restarts":          {[2]error{noTopic, nil}, [2]error{nil, nil}, false},
		"one is down":           {[2]error{noTopic, failure}, [2]error{noTopic, failure}, false},
		"both down, then empty": {[2]error{failure, failure}, [2]error{noTopic, noTopic}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			run(t, 2, func(s []*fakeSource, o *fakeOwner) {
				for _, s := range s {
					s.set(nil, "a:1", "b:1")
				}
				time.Sleep(3 * time.Minute)
				for _, errs := range [][2]error{tt.first, tt.then} {
					for i, s := range s {
						s.set(errs[i])
					}
					time.Sleep(10 * time.Minute)
				}
				if purged := len(o.purges()) > 0; purged != tt.purged {
					t.Errorf("purged: %t, want %t", purged, tt.purged)
				}
				before := len(o.purges())
				s[0].set(nil, "c:1")
				time.Sleep(10 * time.Minute)
				if n := len(o.purges()); n > before+2 || !o.has("connect c:1") {
					t.Errorf("%d purges after an nsqd was named", n-before)
				}
			})
		})
	}
}

// TestDeletionIsNotARestart: nsqds that register again soon after a restart of all nsqlookupds are not
// purged.
func TestDeletionIsNotARestart(t *testing.T) {
	run(t, 2, func(s []*fakeSource, o *fakeOwner) {
		for range 10 {
			for _, s := range s {
				s.set(nil, "a:1")
			}
			time.Sleep(3 * time.Minute)
			for _, s := range s {
				s.set(noTopic)
			}
			time.Sleep(85 * time.Second) // a poll sees it, and nsqds ping
		}
		if o.has("forget a:1") || len(o.purges()) > 0 {
			t.Errorf("forgotten %t, purged %v", o.has("forget a:1"), o.purges())
		}
	})
}

// TestSourceClocks: each source has a clock of its own, and all search while no nsqd is named.
func TestSourceClocks(t *testing.T) {
	run(t, 3, func(s []*fakeSource, o *fakeOwner) {
		s[0].set(nil, "a:1")
		s[2].set(errors.New("down"))
		time.Sleep(10 * time.Minute)
		for i, s := range s {
			if n := s.polls.Load(); n < 8 || n > 14 {
				t.Errorf("source %d: %d polls in ten minutes", i, n)
			}
		}
		s[0].set(nil)
		time.Sleep(75 * time.Second) // the first source sees it
		before := []int64{s[0].polls.Load(), s[1].polls.Load(), s[2].polls.Load()}
		time.Sleep(time.Minute)
		for i, s := range s {
			if n := s.polls.Load() - before[i]; n < 10 || n > 40 {
				t.Errorf("source %d: %d polls in a minute", i, n)
			}
		}
	})
}
