package notify

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const (
	// maxOutages bounds the outages that are remembered.
	maxOutages = 1024

	// stale is the age of the last failure of an address that is dialled or polled no more.
	stale = 5 * time.Minute

	// maxNames is how many of the others a line names.
	maxNames = 8
)

// outage is an nsqd that is down, or a source of nsqds that fails.
type outage struct {
	name        string
	since, last time.Time // of its first and last failure
	attempts    int       // since the first
	err         error     // the last
	partial     bool      // of a source: it has answered, but with an error
	lookupd     bool      // of a source
	permanent   bool      // of an nsqd: a line has said why another try does not help
}

// outages tells of what is down: when it goes down, each minute while it is, and when it is up again.
type outages[K comparable] struct {
	open map[K]*outage
	told time.Time // of the last line about what is still down
}

// fail takes a failure. It reports whether an outage begins; afresh begins one in any case.
func (o *outages[K]) fail(key K, name string, err error, now time.Time, afresh bool) (begins bool) {
	x := o.open[key]
	switch {
	case x != nil && !afresh:
		x.last, x.err = now, err
		x.attempts++
		return false
	case len(o.open) >= maxOutages:
		o.prune(now)
		if len(o.open) >= maxOutages {
			return true
		}
	}
	if o.open == nil {
		o.open = make(map[K]*outage)
	}
	if len(o.open) == 0 {
		o.told = now
	}
	o.open[key] = &outage{name: name, since: now, last: now, attempts: 1, err: err}
	return true
}

// end ends an outage; nil if there was none.
func (o *outages[K]) end(key K) *outage {
	x := o.open[key]
	delete(o.open, key)
	return x
}

// still returns what is down, the longest first, once a minute.
func (o *outages[K]) still(now time.Time) []*outage {
	if now.Sub(o.told) < repeat {
		return nil
	}
	o.told = now
	o.prune(now)
	return slices.SortedFunc(maps.Values(o.open), func(a, b *outage) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.name, b.name))
	})
}

// prune forgets what is tried no more.
func (o *outages[K]) prune(now time.Time) {
	maps.DeleteFunc(o.open, func(_ K, x *outage) bool { return now.Sub(x.last) >= stale })
}

// others returns the attributes of all but the first of what is down.
func others(down []*outage) (attrs []slog.Attr) {
	if len(down) < 2 {
		return nil
	}
	names := make([]string, 0, maxNames)
	for _, x := range down[1:min(len(down), maxNames+1)] {
		names = append(names, x.name)
	}
	attrs = []slog.Attr{slog.Int("others", len(down)-1), slog.Any("other_addresses", names)}
	if cut := len(down) - 1 - len(names); cut > 0 {
		attrs = append(attrs, slog.Int("and_more", cut))
	}
	return attrs
}
