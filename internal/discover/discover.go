// Package discover finds the nsqds of a topic: it polls nsqlookupds and other sources, and tells its
// owner which addresses to connect to.
package discover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// pollTimeout bounds one poll of one source.
const pollTimeout = 10 * time.Second

// Source finds nsqds; nsqx.Discoverer is one.
type Source interface {
	Discover(ctx context.Context, topic string) ([]string, error)
}

// Owner connects to what is found. Its methods must not wait.
type Owner interface {
	Connect(addr string) // keep it connected
	Redial(addr string)  // it is back: dial at once if it is not connected
	Forget(addr string)  // do not dial it again; a connection stays
	Polled(ev notify.Event)
}

// Config says where to look. The zero values of Interval and Max are not usable.
type Config struct {
	Topic    string                 // "": all nsqds
	Lookupds []*lookup.Client       // polled first
	Sources  []Source               // others
	Interval time.Duration          // between polls, ± 20 %
	Filter   func(addr string) bool // which addresses to use; nil: all
	Max      int                    // addresses found, over all sources
}

// Discovery polls sources. Its methods are safe for concurrent use.
type Discovery struct {
	cfg     Config
	owner   Owner
	sources []*source

	mu    sync.Mutex // comes before the owner's: changes are applied in the order of the table
	table *lookup.Table
}

// source is one Source and the results of its polls, guarded by Discovery.mu.
type source struct {
	Source
	stats    observe.LookupStats
	answered bool
}

// New returns a Discovery, and connects its owner to the static addresses.
func New(cfg Config, owner Owner, static []string) *Discovery {
	d := &Discovery{cfg: cfg, owner: owner, table: lookup.NewTable(cfg.Max)}
	for _, l := range cfg.Lookupds {
		d.sources = append(d.sources, &source{Source: lookupd{l}, stats: observe.LookupStats{Name: l.Addr()}})
	}
	for _, x := range cfg.Sources {
		d.sources = append(d.sources, &source{Source: x, stats: observe.LookupStats{Name: fmt.Sprintf("%T", x)}})
	}
	for _, addr := range d.table.Static(static...) {
		owner.Connect(addr)
	}
	return d
}

// Run polls all sources at the same time, again after each interval, until ctx ends.
func (d *Discovery) Run(ctx context.Context) {
	for len(d.sources) > 0 && ctx.Err() == nil {
		var polls sync.WaitGroup
		for i := range d.sources {
			polls.Go(func() { d.poll(ctx, i) })
		}
		polls.Wait()
		select {
		case <-time.After(lookup.Interval(d.cfg.Interval, rand.Float64)):
		case <-ctx.Done():
		}
	}
}

// poll asks one source, and applies what changes.
func (d *Discovery) poll(ctx context.Context, i int) {
	s := d.sources[i]
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	began := time.Now()
	found, err := d.ask(ctx, s)
	took := time.Since(began)
	if ctx.Err() == context.Canceled {
		return // the owner ends
	}
	_, good := errors.AsType[notice](err)
	good = good || err == nil

	d.mu.Lock()
	changes := d.table.Poll(i, found, good)
	if err == nil && changes.Refused > 0 {
		err = fmt.Errorf("nsqx: %d nsqds found beyond the %d that WithMaxNSQDs allows", changes.Refused, d.cfg.Max)
	}
	s.stats.Polls++
	s.stats.LastPoll, s.stats.LastErr = time.Now(), err
	if good {
		s.answered, s.stats.Found = true, len(found)
	} else {
		s.stats.Errors++
	}
	for _, addr := range changes.Added {
		d.owner.Connect(addr)
	}
	for _, addr := range changes.Returned {
		d.owner.Redial(addr)
	}
	for _, addr := range changes.Forgotten {
		d.owner.Forget(addr)
	}
	d.mu.Unlock()
	d.owner.Polled(notify.Event{
		Kind: notify.Lookup, Source: s.stats.Name, Found: len(found), Good: good, Took: took,
		ConnEvent: observe.ConnEvent{Err: err},
	})
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

// Answered reports whether the sources can be relied on: all were polled, and one at least has
// answered. Without sources it is true.
func (d *Discovery) Answered() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	answered := len(d.sources) == 0
	for _, s := range d.sources {
		if s.stats.Polls == 0 {
			return false
		}
		answered = answered || s.answered
	}
	return answered
}

// Stats returns the results of each source.
func (d *Discovery) Stats() (all []observe.LookupStats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sources {
		all = append(all, s.stats)
	}
	return all
}
