package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// fleet is a running scenario: nsqds, an nsqlookupd and replicas of a consumer. For use in a bubble.
type fleet struct {
	t       *testing.T
	s       *scenario
	rng     *rand.Rand // of the goroutine that runs the phases
	start   time.Time
	lookupd *nsqxtest.Lookupd
	addrs   int // given to nsqds so far

	servers  []*nsqxtest.Server // that run
	away     []*nsqxtest.Server // that do not
	replicas []*replica
	phase    phase
	found    []finding
	notes    []string
	good     int // messages handled in a poison phase
	before   int // messages given back before the phase

	mu        sync.Mutex
	records   []*record     // all messages, by number, which is their body
	current   int           // the first record of the present phase
	unstarted int           // messages of the phase that no handler has seen
	unsettled int           // messages of the phase that are neither handled nor dead
	settled   chan struct{} // closed when unsettled becomes 0
	mode      mode
	forced    int // deliveries of the phase that a fault has forced
	window    *window
	handled   []time.Duration // when good messages were handled, for a poison phase
	recovered time.Duration   // the end of the outage of a poison phase
}

// finding is an invariant that does not hold.
type finding struct {
	check check
	text  string
}

// record is what is known of a message.
type record struct {
	server  *nsqxtest.Server
	id      handler.ID
	bad     bool // fails always
	runs    int
	failed  int
	handled bool
	dead    bool
	unseen  bool // given up, and no handler had seen it
	early   bool // given up before it had failed often enough
}

// mode is how handlers behave.
type mode struct {
	err     error         // they fail
	after   time.Duration // so late
	release chan struct{} // they hang until it is closed
}

// replica is a running consumer.
type replica struct {
	c      *nsqx.Consumer[string]
	n      int
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

var errAway = errors.New("the dependency is away")

const fleetTopic, fleetChannel = "orders", "billing"

// fleetLookupInterval saves CPU: a poll costs as much as ten heartbeats.
const fleetLookupInterval = 5 * time.Minute

// newFleet starts a fleet and waits until it is ready.
func newFleet(t *testing.T, s *scenario) *fleet {
	f := &fleet{t: t, s: s, rng: rand.New(rand.NewPCG(s.seed, 21)), start: time.Now(), lookupd: nsqxtest.NewLookupd(t)}
	for range s.nsqds {
		f.addServer()
	}
	for n := range s.replicas {
		f.replicas = append(f.replicas, f.newReplica(n))
	}
	for _, r := range f.replicas {
		select {
		case <-r.c.Ready():
		case <-time.After(time.Minute):
			f.fail(checkReady, "replica %d is not ready after a minute: %v", r.n, r.c.Healthy())
		}
	}
	time.Sleep(time.Second)
	return f
}

func (f *fleet) now() time.Duration { return time.Since(f.start) }

func (f *fleet) fail(c check, format string, args ...any) {
	f.found = append(f.found, finding{c, fmt.Sprintf("%s phase: ", f.phase.kind) + fmt.Sprintf(format, args...)})
}

func (f *fleet) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf("%s: ", f.phase.kind)+fmt.Sprintf(format, args...))
}

func (f *fleet) newAddr() string {
	f.addrs++
	return fmt.Sprintf("nsqd-%d.test:4150", f.addrs)
}

// addServer starts an nsqd that has the channel.
func (f *fleet) addServer() {
	s := nsqxtest.NewServer(f.t, nsqxtest.WithAddr(f.newAddr()), nsqxtest.WithLookupds(f.lookupd), nsqxtest.WithoutLog())
	s.Unpause(fleetTopic, fleetChannel)
	f.servers = append(f.servers, s)
}

// stopServer stops the ith nsqd. What it has in flight is delivered once more.
func (f *fleet) stopServer(i int) {
	s := f.servers[i]
	f.servers = append(f.servers[:i:i], f.servers[i+1:]...)
	f.away = append(f.away, s)
	f.force(s.Stats(fleetTopic, fleetChannel).InFlight)
	s.Stop()
}

// startServer starts the nsqd that has been away longest, perhaps at a new address.
func (f *fleet) startServer() {
	s := f.away[0]
	f.away = f.away[1:]
	f.servers = append(f.servers, s)
	addr := ""
	if f.rng.IntN(2) == 0 {
		addr = f.newAddr()
	}
	s.Start(addr)
}

func (f *fleet) force(n int) {
	f.mu.Lock()
	f.forced += n
	f.mu.Unlock()
}

// newReplica starts the nth consumer.
func (f *fleet) newReplica(n int) *replica {
	r := &replica{n: n, done: make(chan struct{})}
	opts := []nsqx.ConsumerOption{
		f.lookupd.Option(),
		nsqx.WithConn(conn.Config{HeartbeatInterval: time.Minute}),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithLookupInterval(fleetLookupInterval),
		nsqx.WithConcurrency(f.s.concurrency),
		nsqx.WithMaxInFlight(f.s.maxInFlight),
		nsqx.WithMaxAttempts(f.s.maxAttempts),
		nsqx.WithDeadLetterFunc(f.deadLetter),
	}
	if f.s.noBreaker {
		opts = append(opts, nsqx.WithoutBackoff())
	}
	c, err := f.newConsumer(n, opts)
	if err != nil {
		f.t.Fatal(err)
	}
	r.c = c
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		r.err = c.Run(ctx)
	}()
	return r
}

func (f *fleet) newConsumer(n int, opts []nsqx.ConsumerOption) (*nsqx.Consumer[string], error) {
	if f.s.batch > 0 {
		return nsqx.NewBatchConsumer(fleetTopic, fleetChannel, codec.String(), func(_ context.Context, b *handler.Batch[string]) error {
			for i, err := range f.handle(n, b.Values()) {
				if err != nil {
					_ = b.Fail(i, err) // no item is out of range
				}
			}
			return nil
		}, append(opts, nsqx.WithBatch(f.s.batch, f.s.batchWait))...)
	}
	return nsqx.NewConsumer(fleetTopic, fleetChannel, codec.String(), func(_ context.Context, body string) error {
		return f.handle(n, []string{body})[0]
	}, opts...)
}

// stopReplica drains a replica.
func (f *fleet) stopReplica(r *replica) {
	began := time.Now()
	r.cancel()
	<-r.done
	f.checkStop(r, time.Since(began))
}

// replaceReplica is a deploy: what the old one has in flight may be delivered once more.
func (f *fleet) replaceReplica(i int) {
	r := f.replicas[i]
	st := r.c.Stats()
	f.force(st.Running*max(f.s.batch, 1) + st.Queued)
	f.stopReplica(r)
	f.before -= int(r.c.Stats().GivenBack) // which givenBack does not count any more
	f.replicas[i] = f.newReplica(i)
}

// publish publishes n messages at once, spread evenly over the first nsqds.
func (f *fleet) publish(n, spread int, poison float64) {
	spread = min(spread, len(f.servers))
	for i := range spread {
		bodies := make([][]byte, 0, n/spread+1)
		f.mu.Lock()
		first := len(f.records)
		for k := i; k < n; k += spread {
			bodies = append(bodies, []byte(strconv.Itoa(len(f.records))))
			f.records = append(f.records, &record{server: f.servers[i], bad: f.rng.Float64() < poison})
		}
		if f.unsettled == 0 {
			f.settled = make(chan struct{})
		}
		f.unstarted += len(bodies)
		f.unsettled += len(bodies)
		if f.window != nil {
			f.window.left[f.servers[i]] += len(bodies)
		}
		f.mu.Unlock()
		ids := f.servers[i].Publish(fleetTopic, bodies...)
		f.mu.Lock()
		for k, id := range ids {
			f.records[first+k].id = id
		}
		f.mu.Unlock()
	}
}

// begin starts a phase in which handlers behave by m.
func (f *fleet) begin(p phase, m mode) {
	f.before = f.givenBack()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.phase, f.mode = p, m
	f.current, f.unstarted, f.unsettled, f.forced = len(f.records), 0, 0, 0
	f.window, f.handled = nil, nil
}

// givenBack counts what the present replicas have given back.
func (f *fleet) givenBack() (n int) {
	for _, r := range f.replicas {
		n += int(r.c.Stats().GivenBack)
	}
	return n
}

func (f *fleet) setMode(m mode) {
	f.mu.Lock()
	f.mode = m
	f.mu.Unlock()
}

// await waits until all messages of the phase are settled, and reports whether they are.
func (f *fleet) await(limit time.Duration) bool {
	f.mu.Lock()
	settled, done := f.settled, f.unsettled == 0
	f.mu.Unlock()
	if done {
		return true
	}
	select {
	case <-settled:
		time.Sleep(time.Second) // the FINs arrive
		return true
	case <-time.After(limit):
		return false
	}
}

// settle marks a message as handled or dead. The caller holds mu.
func (f *fleet) settle(n int) {
	if n < f.current {
		return // of a phase that was given up
	}
	if f.unsettled--; f.unsettled == 0 {
		close(f.settled)
	}
}
