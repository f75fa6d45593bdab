package discover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

const (
	// pollTimeout bounds one poll of one source, and one registration.
	pollTimeout = 10 * time.Second

	// firstSearch and maxSearch are the pauses between polls while no nsqd is named, ± 20 %: from 1 s
	// to 5 s.
	firstSearch = 1250 * time.Millisecond
	maxSearch   = 5 * time.Second * 5 / 6

	// leastPause is the least time between two polls of a source that changes all the time.
	leastPause = 100 * time.Millisecond
)

// watcher is a Source that tells when its answer changes: see nsqx.Discoverer.
type watcher interface{ Changed() <-chan struct{} }

// source is one Source and the results of its polls, guarded by Discovery.mu.
type source struct {
	Source
	registrar *registrar // nil: nothing is registered
	room      guard.Room // of its polls and registrations, which are user code; not guarded

	// changed tells that the last answer is out of date. It belongs to the goroutine that polls.
	changed <-chan struct{}

	stats    observe.LookupStats
	answered bool      // once
	failure  error     // of the last poll, if it was not answered
	done     bool      // polled once, and registered with
	counted  time.Time // the last poll whose extent was not Unknown
	deletion deletion
}

// follow polls one source on a clock of its own.
func (d *Discovery) follow(ctx context.Context, i int) {
	search := firstSearch
	for ctx.Err() == nil {
		none := d.poll(ctx, i)
		began := time.Now()
		d.register(ctx, d.sources[i])
		if ctx.Err() == nil {
			d.owner.Polled()
		}
		pause := lookup.Interval(d.cfg.Interval, rand.Float64)
		if none == nil {
			pause = min(pause, lookup.Interval(search, rand.Float64))
			search = min(2*search, maxSearch)
		} else {
			search = firstSearch
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-none:
		case <-d.sources[i].changed:
			wait(ctx, leastPause-time.Since(began))
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// poll asks one source, and applies what changes. It returns a channel that is closed when no nsqd is
// named any more; nil if none is.
func (d *Discovery) poll(ctx context.Context, i int) (none <-chan struct{}) {
	s := d.sources[i]
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, pollTimeout)
	found, err := d.ask(limited, s)
	cancel()
	took := time.Since(began)
	if ctx.Err() != nil {
		return nil // the owner ends: what the poll says is no news of the source
	}
	_, good := errors.AsType[notice](err)
	good = good || err == nil

	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.table.Named()
	changes := d.table.Poll(i, found, d.extent(s, good, len(found)))
	if err == nil && changes.Refused > 0 {
		err = fmt.Errorf("nsqx: %d nsqds found beyond the %d that WithMaxNSQDs allows", changes.Refused, d.cfg.Max)
	}
	s.stats.Polls++
	s.stats.LastPoll, s.stats.LastErr, s.failure = time.Now(), err, nil
	if good {
		s.answered, s.stats.Found, s.stats.LastGood = true, len(found), s.stats.LastPoll
		s.deletion.answered(len(found), errors.Is(err, observe.ErrNoTopic))
	} else {
		s.failure = err
		s.stats.Errors++
	}
	d.apply(changes)
	named := d.table.Named()
	if since, ok := d.deleted(); ok && named == 0 {
		d.owner.Purge(since)
	}
	d.owner.Post(notify.Event{
		Kind: notify.Lookup, Source: s.stats.Name, Index: i, Lookupd: i < len(d.cfg.Lookupds), Found: len(found), Good: good, Took: took,
		Named: named, All: d.allPolled(), ConnEvent: observe.ConnEvent{Err: err},
	})
	if named > 0 {
		return d.none
	}
	d.tellNone(before)
	return nil
}

// allPolled reports whether each source was polled. The caller holds mu.
func (d *Discovery) allPolled() bool {
	return !slices.ContainsFunc(d.sources, func(s *source) bool { return s.stats.Polls == 0 })
}

// extent returns what a poll says of addresses that it has not found. Polls come quickly while no
// nsqd is named, but nsqds get the same time to register at a nsqlookupd that has restarted. The
// caller holds mu.
func (d *Discovery) extent(s *source, good bool, found int) lookup.Extent {
	if !good && found == 0 || !s.counted.IsZero() && time.Since(s.counted) < d.cfg.Interval*3/4 { // intervals vary
		return lookup.Unknown
	}
	s.counted = time.Now()
	if good {
		return lookup.Complete
	}
	return lookup.Partial
}

// apply tells the owner of changes. The caller holds mu.
func (d *Discovery) apply(changes lookup.Changes) {
	for _, addr := range changes.Forgotten { // first: makes room
		d.owner.Forget(addr)
	}
	for _, addr := range changes.Added {
		d.owner.Connect(addr)
	}
	for _, addr := range changes.Returned {
		d.owner.Redial(addr)
	}
}

// reply is what a source says.
type reply struct {
	found   []string // in canonical form, allowed by the filter
	changed <-chan struct{}
	err     error
}

// ask asks a source, and the filter; both may be user code. A source that hangs is asked again when
// it has returned: until then its polls fail.
func (d *Discovery) ask(ctx context.Context, s *source) (found []string, err error) {
	said, err := guard.Within(ctx, &s.room, func() (r reply, _ error) {
		if w, ok := s.Source.(watcher); ok {
			r.changed = w.Changed() // first, so that no change is missed
		}
		r.found, r.err = s.Discover(ctx, d.cfg.Topic)
		r.found, r.err = d.usable(r.found, r.err)
		return r, nil
	}, nil)
	s.changed = said.changed
	switch {
	case err == guard.ErrHangs:
		return nil, fmt.Errorf("nsqx: a discoverer, rewrite or filter hangs: %w", err)
	case err != nil:
		return nil, fmt.Errorf("nsqx: discoverer, rewrite or filter panicked: %w", err)
	}
	return said.found, said.err
}

// usable returns the canonical addresses that can be dialled and that the filter allows, rewritten.
func (d *Discovery) usable(found []string, err error) ([]string, error) {
	var good []string
	invalid, example := 0, ""
	for _, given := range found {
		addr, ok := lookup.Canonical(given)
		if d.cfg.Rewrite != nil {
			if ok {
				given = addr
			}
			given = d.cfg.Rewrite(given)
			addr, ok = lookup.Canonical(given)
		}
		switch {
		case !ok:
			if invalid++; invalid == 1 {
				example = given
			}
		case d.cfg.Filter == nil || d.cfg.Filter(addr):
			good = append(good, addr)
		}
	}
	if err == nil && invalid > 0 {
		err = notice{fmt.Errorf("nsqx: a discoverer named %d addresses that cannot be used, such as %.256q: want host:port or unix:///path", invalid, example)}
	}
	return good, err
}
