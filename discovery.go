package nsqx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/lookup"
)

// Discoverer finds the nsqds that have messages of a topic. [WithLookupd] asks
// nsqlookupd; [WithDiscoverer] takes any other.
type Discoverer interface {
	// Discover returns the addresses of all nsqds that have the topic, as
	// "host:port" or "unix:///path". None is a valid answer: the topic does not
	// exist yet. A publisher asks for topic "", which means all nsqds. Addresses returned beside an error are used, but the poll counts
	// as failed: no address is forgotten for it. It must return when ctx ends, which
	// is after 10 s at the latest.
	Discover(ctx context.Context, topic string) ([]string, error)
}

// DiscovererFunc is a function as a [Discoverer].
type DiscovererFunc func(ctx context.Context, topic string) ([]string, error)

// Discover calls f.
func (f DiscovererFunc) Discover(ctx context.Context, topic string) ([]string, error) {
	return f(ctx, topic)
}

// LookupdClient is how nsqlookupds are asked. The zero value is ready to use.
type LookupdClient struct {
	// HTTPClient is used as it is, but for redirects, of which none is followed.
	// Its Timeout bounds a poll. Defaults to a client that uses no proxy, with a
	// timeout of 5 s.
	HTTPClient *http.Client

	// Authorization returns the value of that header for each request; "" sends
	// none. It is sent to the nsqlookupds and nobody else, in clear text unless
	// their addresses begin with https://. It must return when ctx ends. Defaults
	// to nil: none is sent.
	Authorization func(ctx context.Context) (string, error)
}

// discoverTimeout bounds one poll of one source.
const discoverTimeout = 10 * time.Second

// finder is for whom nsqds are found. Its methods must not wait.
type finder interface {
	connect(addr string) // keep it connected from now on
	redial(addr string)  // it is there anew: if it is down, dial at once
	forget(addr string)  // dial it no more; if it is connected, it stays so
	polled(ev event)     // a source was asked
}

// discovery keeps which nsqds a consumer or a publisher is connected to.
type discovery struct {
	cfg     *sharedConfig
	topic   string // "": any
	owner   finder
	sources []*source

	mu    sync.Mutex // before those of the owner: changes are applied in the order in which the table has made them
	table *lookup.Table
}

// source is one discoverer and what became of its polls; guarded by
// discovery.mu.
type source struct {
	Discoverer
	stats LookupStats
}

// lookupd asks one nsqlookupd.
type lookupd struct{ *lookup.Client }

func (l lookupd) Discover(ctx context.Context, topic string) ([]string, error) {
	ask := func(ctx context.Context) (lookup.Answer, error) { return l.Lookup(ctx, topic) }
	if topic == "" {
		ask = l.Nodes
	}
	answer, err := ask(ctx)
	switch dropped := answer.Surplus + answer.Invalid; {
	case err != nil:
		return nil, err
	case answer.NoTopic:
		return nil, notice{ErrNoTopic}
	case dropped > 0:
		return answer.Addrs, notice{fmt.Errorf("nsqx: nsqlookupd %s named %d addresses that cannot be used", l.Addr(), dropped)}
	}
	return answer.Addrs, nil
}

// notice is an error beside an answer that is good all the same.
type notice struct{ error }

// ErrNoTopic is in a [LookupEvent]: no nsqd that the nsqlookupd knows has the topic. It begins with
// its first message.
var ErrNoTopic = errors.New("nsqx: topic not found")

func newDiscovery(cfg *sharedConfig, topic string, owner finder) *discovery {
	d := &discovery{cfg: cfg, topic: topic, owner: owner, table: lookup.NewTable(cfg.maxNSQDs)}
	for _, l := range cfg.lookupClients {
		d.sources = append(d.sources, &source{Discoverer: lookupd{l}, stats: LookupStats{Name: l.Addr()}})
	}
	for _, x := range cfg.discoverers {
		d.sources = append(d.sources, &source{Discoverer: x, stats: LookupStats{Name: fmt.Sprintf("%T", x)}})
	}
	return d
}

// run asks all sources at once, again and again, until ctx ends.
func (d *discovery) run(ctx context.Context) {
	for ctx.Err() == nil {
		var polls sync.WaitGroup
		for i := range d.sources {
			polls.Go(func() { d.poll(ctx, i) })
		}
		polls.Wait()
		select {
		case <-time.After(lookup.Interval(d.cfg.lookupInterval, rand.Float64)):
		case <-ctx.Done():
		}
	}
}

// poll asks one source, and dials what it has found.
func (d *discovery) poll(ctx context.Context, i int) {
	s := d.sources[i]
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	began := time.Now()
	found, err := d.discover(ctx, s)
	took := time.Since(began)
	if ctx.Err() == context.Canceled {
		return // its owner ends
	}
	_, good := errors.AsType[notice](err)
	good = good || err == nil

	d.mu.Lock()
	changes := d.table.Poll(i, found, good)
	if err == nil && changes.Refused > 0 {
		err = fmt.Errorf("nsqx: %d nsqds found beyond the %d that WithMaxNSQDs allows", changes.Refused, d.cfg.maxNSQDs)
	}
	s.stats.Polls++
	s.stats.LastPoll, s.stats.LastErr = time.Now(), err
	if good {
		s.stats.answered, s.stats.Found = true, len(found)
	} else {
		s.stats.Errors++
	}
	for _, addr := range changes.Added {
		d.owner.connect(addr)
	}
	for _, addr := range changes.Returned {
		d.owner.redial(addr)
	}
	for _, addr := range changes.Forgotten {
		d.owner.forget(addr)
	}
	d.mu.Unlock()
	d.owner.polled(event{source: s.stats.Name, found: len(found), good: good, took: took, ConnEvent: ConnEvent{Err: err}})
}

// discover asks the source, and the user's filter: both may be user code.
func (d *discovery) discover(ctx context.Context, s *source) (found []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			found, err = nil, fmt.Errorf("nsqx: discoverer or filter panicked: %w", handler.NewPanicError(p))
		}
	}()
	found, err = s.Discover(ctx, d.topic)
	allow := d.cfg.nsqdFilter
	return slices.DeleteFunc(slices.Clone(found), func(addr string) bool {
		return conn.CheckAddress(addr) != nil || allow != nil && !allow(addr)
	}), err
}

// answered says whether the sources can be relied on: one at least has
// answered, and all have been asked. Without any, that is so.
func (d *discovery) answered() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	any := len(d.sources) == 0
	for _, s := range d.sources {
		if s.stats.Polls == 0 {
			return false
		}
		any = any || s.stats.answered
	}
	return any
}

func (d *discovery) stats() (all []LookupStats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sources {
		all = append(all, s.stats)
	}
	return all
}
