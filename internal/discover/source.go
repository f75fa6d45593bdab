package discover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

const (
	// pollTimeout bounds one poll of one source, and one registration.
	pollTimeout = 10 * time.Second

	// firstSearch and maxSearch are the pauses between polls while no nsqd is named.
	firstSearch = time.Second
	maxSearch   = 5 * time.Second
)

// source is one Source and the results of its polls, guarded by Discovery.mu.
type source struct {
	Source
	registrar *registrar // nil: nothing is registered

	stats    observe.LookupStats
	answered bool      // once
	failure  error     // of the last poll, if it was not answered
	done     bool      // polled once, and registered with
	counted  time.Time // the last poll in which missing addresses counted
	deletion deletion
}

// follow polls one source on a clock of its own.
func (d *Discovery) follow(ctx context.Context, i int) {
	search := firstSearch
	for ctx.Err() == nil {
		none := d.poll(ctx, i)
		d.register(ctx, d.sources[i])
		if ctx.Err() == nil {
			d.owner.Polled()
		}
		pause := lookup.Interval(d.cfg.Interval, rand.Float64)
		if none == nil {
			pause = min(pause, max(firstSearch, min(lookup.Interval(search, rand.Float64), maxSearch)))
			search = min(2*search, maxSearch)
		} else {
			search = firstSearch
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-none:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// poll asks one source, and applies what changes. It returns a channel that is closed when no nsqd is
// named any more; nil if none is.
func (d *Discovery) poll(ctx context.Context, i int) (none <-chan struct{}) {
	s := d.sources[i]
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	began := time.Now()
	found, err := d.ask(ctx, s)
	took := time.Since(began)
	if ctx.Err() == context.Canceled {
		return nil // the owner ends
	}
	_, good := errors.AsType[notice](err)
	good = good || err == nil

	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.table.Named()
	changes := d.table.Poll(i, found, good && d.counts(s))
	if err == nil && changes.Refused > 0 {
		err = fmt.Errorf("nsqx: %d nsqds found beyond the %d that WithMaxNSQDs allows", changes.Refused, d.cfg.Max)
	}
	s.stats.Polls++
	s.stats.LastPoll, s.stats.LastErr, s.failure = time.Now(), err, nil
	if good {
		s.answered, s.stats.Found = true, len(found)
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
		Kind: notify.Lookup, Source: s.stats.Name, Index: i, Found: len(found), Good: good, Took: took,
		Named: named, All: d.allPolled(), ConnEvent: observe.ConnEvent{Err: err},
	})
	if named > 0 {
		return d.none
	}
	if before > 0 {
		close(d.none)
		d.none = make(chan struct{})
	}
	return nil
}

// allPolled reports whether each source was polled. The caller holds mu.
func (d *Discovery) allPolled() bool {
	return !slices.ContainsFunc(d.sources, func(s *source) bool { return s.stats.Polls == 0 })
}

// counts reports whether addresses that are missing from a poll count as missing. Polls come quickly
// while no nsqd is named, but nsqds get the same time to register at a nsqlookupd that has restarted.
// The caller holds mu.
func (d *Discovery) counts(s *source) bool {
	if !s.counted.IsZero() && time.Since(s.counted) < d.cfg.Interval*3/4 { // intervals vary
		return false
	}
	s.counted = time.Now()
	return true
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

// ask asks a source, and the filter; both may be user code.
func (d *Discovery) ask(ctx context.Context, s *source) (found []string, err error) {
	var asked error
	err = guard.Isolate(func() {
		found, asked = s.Discover(ctx, d.cfg.Topic)
		found = slices.DeleteFunc(slices.Clone(found), func(addr string) bool {
			return conn.CheckAddress(addr) != nil || d.cfg.Filter != nil && !d.cfg.Filter(addr)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("nsqx: discoverer or filter panicked: %w", err)
	}
	return found, asked
}
