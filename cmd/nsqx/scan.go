package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// source is a channel with dead letters, at the nsqds that have it.
type source struct {
	topic, channel string
	places         []place
	cluster        *admin.Cluster
	cfg            conn.Config
	failed         error // some nsqds have not answered
}

// source finds the channel to read. It never creates one: SUB would create a topic or a channel at an
// nsqd that has none, so only nsqds that have both are used.
func (s *servers) source(ctx context.Context, t *terminal, topic, channel string) (*source, error) {
	cluster, places, failed, err := s.places(ctx, t, topic)
	if err != nil {
		return nil, err
	}
	names, waiting := make(map[string]bool), int64(0)
	for _, p := range places {
		waiting += p.topic.Depth
		for name := range p.channels {
			names[name] = true
		}
	}
	all := slices.Sorted(maps.Keys(names))
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("topic %s has no channel, and %d messages wait in it. To read them, one must exist, which gets them: nsqx channel create %s redrive", topic, waiting, topic)
	case channel == "" && len(all) > 1:
		return nil, usage("topic %s has the channels %s: name one by --channel", topic, strings.Join(all, ", "))
	case channel == "":
		channel = all[0]
	case !names[channel]:
		return nil, fmt.Errorf("topic %s has no channel %s, but %s: a new one would get none of their messages", topic, channel, strings.Join(all, ", "))
	}
	src := &source{topic: topic, channel: channel, cluster: cluster, failed: failed}
	if src.cfg, err = s.conn(); err != nil {
		return nil, err
	}
	var deferred, missed int64
	clients, consumed, without := 0, 0, 0
	for _, p := range places {
		ch, has := p.channels[channel]
		deferred += ch.Deferred
		if !has {
			if p.topic.Depth > 0 {
				missed += p.topic.Depth
				without++
			}
			continue
		}
		if ch.Paused {
			return nil, fmt.Errorf("channel %s/%s is paused at nsqd %s, and gives no messages: nsqx channel unpause %s %s", topic, channel, p.node.Addr, topic, channel)
		}
		if ch.ClientCount > 0 {
			clients += ch.ClientCount
			consumed++
		}
		src.places = append(src.places, p)
	}
	if missed > 0 {
		t.note("%d nsqds have %d messages in topic %s, and no channel %s: they are left out", without, missed, topic, channel)
	}
	if clients > 0 {
		t.note("%d clients consume %s/%s at %d nsqds, and take messages meanwhile", clients, topic, channel, consumed)
	}
	if deferred > 0 {
		t.note("%d messages of %s/%s are deferred, and are not read now", deferred, topic, channel)
	}
	return src, nil
}

// depth is the number of messages that wait in the channel.
func (s *source) depth() (n int64) {
	for _, p := range s.places {
		n += min(max(p.channels[s.channel].Depth, 0), math.MaxInt64-n) // a server may claim anything
	}
	return n
}

// scan reads each message of a channel once. What it does not finish it gives back at once.
type scan struct {
	*source
	t      *terminal
	where  *filter
	limit  int                // matches; 0 for all
	finish bool               // matches are finished
	keep   func(*letter) bool // nil, or whether a match is one after all
	match  func(*letter)      // one call at a time

	cancel context.CancelFunc // after limit

	mu      sync.Mutex
	read    int // each has one more attempt
	matched int
	bad     int   // messages for which the filter failed
	badErr  error // the first of them
}

// run reads until each message that was there has been seen, or the limit is reached.
func (s *scan) run(ctx context.Context) error {
	ctx, s.cancel = context.WithCancel(ctx)
	defer s.cancel()
	var (
		reading  sync.WaitGroup
		failures = make([]error, len(s.places))
		dialling = make(chan struct{}, maxDials) // those that cannot be connected to do not hold up others
		windows  = make(chan struct{}, maxWindows)
	)
	for i, p := range s.places {
		reading.Go(func() {
			if !enter(ctx, dialling) {
				return
			}
			defer func() { <-dialling }()
			failures[i] = s.nsqd(ctx, p, windows)
		})
	}
	reading.Wait()
	s.t.clear()
	if s.bad > 0 {
		s.t.note("nsqx: the filter failed for %d messages, which do not match; the first: %v", s.bad, s.badErr)
	}
	return shorten(errors.Join(failures...))
}

// maxWindows is how many nsqds are read at a time.
const maxWindows = 16

// enter takes a place, unless ctx ends.
func enter(ctx context.Context, places chan<- struct{}) bool {
	select {
	case places <- struct{}{}:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// maxStale is how many takes in a row may bring only messages that were seen, and maxEmpty how many may
// bring none: then others have taken the rest.
const maxStale, maxEmpty = 20, 5

// maxRead is how many messages of an nsqd are read: their ids are in memory.
const maxRead = 1 << 24

// nsqd reads one nsqd. What was given back returns, so it knows each message by its id.
func (s *scan) nsqd(ctx context.Context, p place, windows chan struct{}) (err error) {
	all := p.channels[s.channel].Depth
	if all <= 0 {
		return nil
	}
	depth := int(min(all, maxRead))
	w, err := openWindow(ctx, s.cfg, p.node.Addr, s.topic, s.channel)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // another nsqd had enough
	case err != nil:
		return err
	}
	defer func() { err = cmp.Or(err, w.close()) }()
	if !enter(ctx, windows) {
		return nil
	}
	defer func() { <-windows }()
	seen := make(map[handler.ID]struct{})
	for stale := 0; len(seen) < depth && stale < maxStale; {
		want, before := max(depth-len(seen), min(depth, windowSize)/4), len(seen)
		if s.limit > 0 && s.where == nil {
			want = min(want, s.limit)
		}
		var copies []*letter
		got, err := w.take(ctx, want, func(d *handler.Delivery) {
			if _, again := seen[d.Message().ID]; again {
				return
			}
			seen[d.Message().ID] = struct{}{}
			s.count()
			l := newLetter(d.Message())
			l.tooLarge = d.Fault() != nil
			if s.finish { // then a filter decides while the message is held
				s.one(l, func() bool { return w.c.GiveUp(d) })
			} else {
				copies = append(copies, l)
			}
		})
		for _, l := range copies {
			s.one(l, func() bool { return true })
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case got == 0:
			stale += maxStale / maxEmpty
		case len(seen) == before:
			stale++
		default:
			stale = 0
		}
	}
	if n := depth - len(seen); n > 0 {
		return part("nsqd %s: %d of %d messages did not come: others have them, or they are deferred", p.node.Addr, n, depth)
	}
	if all > maxRead {
		return part("nsqd %s: %d messages are left out: at most %d are read at a time", p.node.Addr, all-maxRead, maxRead)
	}
	return nil
}

func (s *scan) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read++; s.read%windowSize == 0 {
		s.t.show("read %d of %d, %d match", s.read, s.depth(), s.matched)
	}
}

// one looks at a message. take is called for a match, and reports whether it may count.
func (s *scan) one(l *letter, take func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit > 0 && s.matched >= s.limit {
		return
	}
	ok, err := s.where.match(context.Background(), l)
	if err != nil {
		s.bad++
		s.badErr = cmp.Or(s.badErr, err)
	}
	if !ok || s.keep != nil && !s.keep(l) || !take() {
		return
	}
	s.matched++
	s.match(l)
	if s.matched == s.limit {
		s.cancel()
	}
}
