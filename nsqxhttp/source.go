package nsqxhttp

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

var (
	errNil      = errors.New("nsqx: the source is nil")
	errNotReady = errors.New("nsqx: the service is starting")
	errHangs    = errors.New("nsqx: the check has not returned in time")
)

// source is a service and its name. The service may be foreign code.
type source struct {
	observe.Source
	name string
}

// call calls a method of the service.
func (s source) call(f func() error) error {
	if s.Source == nil {
		return errNil
	}
	_, err := guard.Value(func() (struct{}, error) { return struct{}{}, f() })
	return err
}

func (s source) healthy() error { return s.call(func() error { return s.Healthy() }) }

func (s source) live() error {
	if l, ok := s.Source.(interface{ Live() error }); ok {
		return s.call(l.Live)
	}
	return nil
}

// isReady reports whether the service was ready once.
func (s source) isReady() (ready bool) {
	r, ok := s.Source.(interface{ Ready() <-chan struct{} })
	if !ok {
		return true
	}
	_ = s.call(func() error {
		select {
		case <-r.Ready():
			ready = true
		default:
		}
		return nil
	})
	return ready
}

// statsOf returns the statistics of the service; nil if it has none.
func (s source) statsOf() (stats any) {
	_ = s.call(func() error {
		switch c := s.Source.(type) {
		case interface{ Stats() observe.Stats }:
			stats = c.Stats()
		case interface{ Stats() observe.PublisherStats }:
			stats = c.Stats()
		}
		return nil
	})
	return stats
}

// sourceStats is a source in /statsz.
type sourceStats struct {
	Name    string `json:"name"`
	Ready   bool   `json:"ready"`
	Healthy string `json:"healthy"` // ok, or the reason
	Live    string `json:"live"`    // ok, or the reason
	Stats   any    `json:"stats,omitempty"`
}

// stats returns the statistics of all sources.
func (s *server) stats() any {
	all := make([]sourceStats, 0, len(s.sources))
	for _, src := range s.sources {
		all = append(all, sourceStats{src.name, src.isReady(), text(src.healthy()), text(src.live()), src.statsOf()})
	}
	return map[string]any{"sources": all}
}

func text(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// load is the part of all handlers that are busy.
type load struct {
	Load        float64 `json:"load"` // 0 to 1
	Busy        int     `json:"busy"`
	Concurrency int     `json:"concurrency"`
}

func (s *server) load() (l load) {
	for _, src := range s.sources {
		if stats, ok := src.statsOf().(observe.Stats); ok {
			l.Busy += stats.Running
			l.Concurrency += stats.Concurrency
		}
	}
	if l.Concurrency > 0 {
		l.Load = min(float64(l.Busy)/float64(l.Concurrency), 1)
	}
	return l
}

// probe is a check of the user.
type probe struct {
	name  string
	check func(context.Context) error
	hung  atomic.Int32 // calls that were left behind and have not returned
}

// run calls the check, and leaves it behind when ctx ends.
func (p *probe) run(ctx context.Context) error {
	if p.hung.Load() > 0 {
		return errHangs
	}
	var err error
	ended, left := make(chan struct{}), new(atomic.Bool)
	go guard.Finally(func() { err = p.check(ctx) }, func(broken error) {
		err = cmp.Or(broken, err)
		if !left.CompareAndSwap(false, true) {
			p.hung.Add(-1)
		}
		close(ended)
	})
	select {
	case <-ended:
		return err
	case <-ctx.Done():
	}
	p.hung.Add(1) // before it can count itself off
	if left.CompareAndSwap(false, true) {
		return errHangs
	}
	p.hung.Add(-1) // it has just returned
	<-ended
	return err
}
