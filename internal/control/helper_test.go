package control

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/pool"
)

const (
	nsqd1 = "nsqd-1:4150"
	nsqd2 = "nsqd-2:4150"
)

var errBill = errors.New("no credit")

// source is a source of messages without a connection.
type source struct{ terms handler.Terms }

func (s *source) Topic() string                 { return "orders" }
func (s *source) Channel() string               { return "billing" }
func (s *source) NSQD() string                  { return nsqd1 }
func (s *source) Context() context.Context      { return context.Background() }
func (s *source) Terms() *handler.Terms         { return &s.terms }
func (s *source) Touch(*handler.Delivery) error { return nil }

// newMessages returns n messages with this message timeout and the ids first, first+1, …
func newMessages(first, n int, timeout time.Duration) []handler.Delivery {
	read := &handler.Read{Source: &source{terms: handler.Terms{Start: time.Now(), MessageTimeout: timeout}}}
	msgs := make([]handler.Delivery, n)
	for i := range msgs {
		id, _ := handler.ParseID(fake.ID(uint64(first + i)))
		msgs[i].Init(read, id, 1, 0, nil)
	}
	return msgs
}

// service is a Control with a pool and connections. Tests call the methods of Run themselves unless
// they call run. For use in a bubble.
type service struct {
	*Control
	t        *testing.T
	pool     *pool.Pool
	net      *fake.Network
	identify map[string]any // over nsqd's answer to IDENTIFY
	gate     testGate
	dialled  chan *line
	lines    []*line

	mu     sync.Mutex
	conns  []*conn.Conn
	looks  []time.Time // at which Control has asked for connections, without repeats
	events []notify.Event
}

// testGate is a gate that a test shuts; the zero value is open.
type testGate struct {
	mu    sync.Mutex
	shut  bool
	opens time.Time // zero: not by time alone
}

// Room implements Gate.
func (g *testGate) Room() (n int, holds time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.shut:
		return math.MaxInt, 0
	case g.opens.IsZero():
		return 0, 0
	}
	if holds = time.Until(g.opens); holds > 0 {
		return 0, holds
	}
	return 1, 0
}

func (g *testGate) set(shut bool, opens time.Time) {
	g.mu.Lock()
	g.shut, g.opens = shut, opens
	g.mu.Unlock()
}

// shutGate shuts the gate.
func (s *service) shutGate() {
	s.gate.set(true, time.Time{})
	s.Changed()
}

// shutFor shuts the gate for d. Then it has room for one message.
func (s *service) shutFor(d time.Duration) {
	s.gate.set(true, time.Now().Add(d))
	s.Changed()
}

// openGate opens the gate.
func (s *service) openGate() {
	s.gate.set(false, time.Time{})
	s.Changed()
}

// newService returns a service whose workers run handle. An error is a REQ without delay. Start is not
// called.
func newService(t *testing.T, cfg Config, handle func(d *handler.Delivery) error) *service {
	s := &service{t: t, dialled: make(chan *line, 1)}
	s.net = fake.NewNetwork(t, s.serve)
	s.pool = pool.New(pool.Config{
		Process: func(d *handler.Delivery) handler.Outcome {
			if err := handle(d); err != nil {
				return handler.Outcome{Disposition: handler.Requeue, Err: err}
			}
			return handler.Outcome{Disposition: handler.Finish}
		},
		Rescue:          func(*handler.Delivery, error) handler.Outcome { panic("not called") },
		Watching:        new(atomic.Bool),
		MaxRequeueDelay: time.Hour,
	})
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 1
	}
	if cfg.MaxInFlightBytes == 0 {
		cfg.MaxInFlightBytes = 1 << 20
	}
	cfg.Pool, cfg.Conns, cfg.Post, cfg.Gates = s.pool, s.current, s.post, append(cfg.Gates, &s.gate)
	if cfg.Failed == nil {
		cfg.Failed = func() uint64 { return 0 }
	}
	s.Control = New(cfg)
	s.alarm = time.NewTimer(time.Hour) // for idle without Run
	t.Cleanup(func() {
		for _, l := range s.lines {
			l.conn.Abort(nil)
			<-l.served
		}
		s.pool.Close()
		if !s.pool.Wait(time.Hour) {
			t.Error("workers do not end")
		}
	})
	return s
}

// takes returns a handler that takes d.
func takes(d time.Duration) func(*handler.Delivery) error {
	return func(*handler.Delivery) error {
		time.Sleep(d)
		return nil
	}
}

// hanging returns a handler that hangs until release is called.
func hanging() (handle func(*handler.Delivery) error, release func()) {
	released := make(chan struct{})
	return func(*handler.Delivery) error {
		<-released
		return nil
	}, func() { close(released) }
}

// run runs Control until the end of the test.
func (s *service) run() {
	done, ended := make(chan struct{}), make(chan struct{})
	s.Start()
	go func() {
		defer close(ended)
		s.Run(done)
	}()
	s.t.Cleanup(func() {
		close(done)
		<-ended
	})
	synctest.Wait()
}

// current returns the connections that have not ended.
func (s *service) current() []*conn.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); len(s.looks) == 0 || s.looks[len(s.looks)-1] != now {
		s.looks = append(s.looks, now)
	}
	return slices.Clone(s.conns)
}

// looksSince returns when Control has looked at connections: at each tick, and when it was woken.
func (s *service) looksSince(from time.Time) (after []time.Duration) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.looks {
		if !at.Before(from) {
			after = append(after, at.Sub(from))
		}
	}
	return after
}

// counted returns the messages that Run has counted. Run calls current before it counts again, so mu
// orders both.
func (s *service) counted() uint64 {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Control.received
}

func (s *service) wantLooks(what string, from time.Time, want ...time.Duration) {
	s.t.Helper()
	if got := s.looksSince(from); !slices.Equal(got, want) {
		s.t.Errorf("%s: %d looks, at %v …, want %v", what, len(got), got[:min(len(got), 20)], want)
	}
}

func (s *service) post(ev notify.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, ev)
}

// posted returns the events so far of a kind.
func (s *service) posted(kind notify.Kind) []notify.Event {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.events), func(ev notify.Event) bool { return ev.Kind != kind })
}

// sleeps reports whether Run waits for a message.
func (s *service) sleeps() bool { return s.sleep.Load() == asleep }

// locked calls f as a caller that holds mu.
func (s *service) locked(f func()) {
	s.Control.mu.Lock()
	defer s.Control.mu.Unlock()
	f()
}

// awake reports whether Wake or Yielded was called since awake was, when Run does not run.
func (s *service) awake() (woken bool) {
	for {
		select {
		case <-s.wake:
		case <-s.moved:
		default:
			return woken
		}
		woken = true
	}
}

// line is a connection and nsqd's end of it.
type line struct {
	t      *testing.T
	conn   *conn.Conn
	served chan struct{}
	err    error // of Serve, once served is closed

	writing sync.Mutex
	p       *fake.Peer

	log fake.Journal // commands after SUB
}

// serve is the script of nsqd. It sends heartbeats.
func (s *service) serve(p *fake.Peer) {
	p.Subscribe(s.identify)
	l := &line{t: s.t, p: p, served: make(chan struct{})}
	s.dialled <- l
	quit, gone := make(chan struct{}), make(chan struct{})
	defer func() {
		close(quit)
		<-gone
	}()
	go func() {
		defer close(gone)
		beat := time.NewTicker(30 * time.Second)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				l.write(func(p *fake.Peer) { p.Heartbeat() })
			case <-quit:
				return
			}
		}
	}()
	l.log.Follow(p)
}

// dial returns a new connection, which has quota 0.
func (s *service) dial(addr string) *line {
	s.t.Helper()
	c, err := conn.Dial(context.Background(), addr, conn.Config{DialContext: s.net.DialContext},
		&conn.Subscription{Topic: "orders", Channel: "billing"})
	if err != nil {
		s.t.Fatal(err)
	}
	l := <-s.dialled
	l.conn = c
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	go func() {
		defer close(l.served)
		l.err = c.Serve(s)
		s.mu.Lock()
		s.conns = slices.DeleteFunc(s.conns, func(other *conn.Conn) bool { return other == c })
		s.mu.Unlock()
		s.Detached(c)
	}()
	s.lines = append(s.lines, l)
	s.Wake()
	synctest.Wait()
	return l
}

// Deliver implements [conn.Sink] as a consumer does.
func (s *service) Deliver(from *conn.Conn, msgs []handler.Delivery) {
	rest, waits, err := s.pool.Put(msgs, from.Works())
	switch {
	case err == pool.ErrClosed:
		for i := range rest {
			s.pool.Requeue(&rest[i], handler.Interrupted, 0)
		}
	case err == pool.ErrSuspended:
		s.Refuse(rest)
	case err != nil:
		s.Overflow(from, rest, err)
	default:
		s.Arrived(waits || from.Full())
	}
}

// Work implements [conn.Worker] as a consumer does.
func (s *service) Work(t *conn.Turn, n int) (relieved bool) { return s.pool.Work(t, n) }

func (s *service) Refused(_ *conn.Conn, err error) { s.t.Errorf("nsqd refuses an answer: %v", err) }
func (s *service) Yielded(*conn.Conn)              { s.Control.Yielded() }

func (l *line) write(f func(p *fake.Peer)) {
	l.writing.Lock()
	defer l.writing.Unlock()
	f(l.p)
}

// flood delivers n messages in one write.
func (l *line) flood(first uint64, n int) {
	l.write(func(p *fake.Peer) { p.Raw(fake.Messages(first, n)) })
}

// end ends the connection as nsqd.
func (l *line) end() {
	l.p.Close()
	<-l.served
}

func (l *line) quota() int { return l.conn.Load(false).Quota }

// commands returns the commands with one of these names; ids lose their zeros.
func (l *line) commands(names ...string) []string {
	synctest.Wait()
	return l.log.Commands(names...)
}

func (l *line) wantCommands(names, want string) {
	l.t.Helper()
	if got := strings.Join(l.commands(strings.Fields(names)...), ", "); got != want {
		l.t.Errorf("%s reads %q, want %q", l.conn.Addr(), got, want)
	}
}

func idOf(n int) string { return newMessages(n, 1, 0)[0].ID.String() }
