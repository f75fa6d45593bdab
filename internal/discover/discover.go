// Package discover finds the nsqds of a topic: it polls nsqlookupds and other sources, and tells its
// owner which addresses to connect to.
package discover

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// Source finds nsqds; nsqx.Discoverer is one.
type Source interface {
	Discover(ctx context.Context, topic string) ([]string, error)
}

// Owner connects to what is found. Its methods must not wait.
type Owner interface {
	Connect(addr string) // keep it connected
	Redial(addr string)  // it is back: dial at once if it is not connected
	Forget(addr string)  // nobody names it any more: dial it less and less often; a connection stays
	Post(ev notify.Event)

	// Purge tells that the topic was deleted: do not dial the addresses again that Forget was called
	// for and that were not connected since.
	Purge(since time.Time)

	Polled() // a source was polled, and registered with
}

// Config says where to look. The zero values of Interval and Max are not usable.
type Config struct {
	Topic    string                   // "": all nsqds
	Channel  string                   // registered with Topic at each nsqlookupd; "": nothing is registered
	Lookupds []*lookup.Client         // polled first
	Sources  []Source                 // others
	Interval time.Duration            // between polls, ± 20 %
	Rewrite  func(addr string) string // before Filter; nil: none
	Filter   func(addr string) bool   // which addresses to use; nil: all
	Max      int                      // addresses found, over all sources
}

// Discovery polls sources. Its methods are safe for concurrent use.
type Discovery struct {
	cfg     Config
	owner   Owner
	sources []*source

	mu    sync.Mutex // comes before the owner's: changes are applied in the order of the table
	table *lookup.Table
	none  chan struct{} // closed, and replaced, when no nsqd is named any more
}

// New returns a Discovery, and connects its owner to the static addresses.
func New(cfg Config, owner Owner, static []string) *Discovery {
	d := &Discovery{cfg: cfg, owner: owner, table: lookup.NewTable(cfg.Max), none: make(chan struct{})}
	for _, l := range cfg.Lookupds {
		s := &source{Source: lookupd{l}, stats: observe.LookupStats{Name: l.Addr()}}
		if cfg.Channel != "" && !isEphemeral(cfg.Topic) && !isEphemeral(cfg.Channel) {
			r := &registrar{Client: l, topic: cfg.Topic, channel: cfg.Channel}
			s.Source, s.registrar = r, r
		}
		d.sources = append(d.sources, s)
	}
	for _, x := range cfg.Sources {
		d.sources = append(d.sources, &source{Source: x, stats: observe.LookupStats{Name: fmt.Sprintf("%T", x)}})
	}
	for _, addr := range d.table.Static(static...) {
		owner.Connect(addr)
	}
	return d
}

// Run polls each source, again and again, until ctx ends. A source that hangs holds up no other.
func (d *Discovery) Run(ctx context.Context) {
	var polls sync.WaitGroup
	for i := range d.sources {
		polls.Go(func() { d.follow(ctx, i) })
	}
	polls.Wait()
}

// Answered reports whether the sources have been heard: all were polled and, if that is to be done,
// registered with, and one at least has answered. Without sources it is true.
func (d *Discovery) Answered() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	answered := len(d.sources) == 0
	for _, s := range d.sources {
		if !s.done {
			return false
		}
		answered = answered || s.answered
	}
	return answered
}

// Reachable reports whether the last poll of a source was answered. Without sources it is true.
func (d *Discovery) Reachable() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	reachable := len(d.sources) == 0
	for _, s := range d.sources {
		reachable = reachable || s.failure == nil && s.stats.Polls > 0
	}
	return reachable
}

// Failures returns the errors of the last polls that were not answered.
func (d *Discovery) Failures() (errs []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sources {
		if s.failure != nil {
			errs = append(errs, s.failure)
		}
	}
	return errs
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
