package pool

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
)

var errBill = errors.New("no credit")

// source is a source of messages without a connection. Its messages are numbered by Attempts.
type source struct {
	ctx   context.Context
	end   context.CancelCauseFunc
	terms handler.Terms
}

func newSource() *source {
	s := &source{terms: handler.Terms{Start: time.Now(), MessageTimeout: time.Minute}}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	return s
}

func (s *source) Topic() string                 { return "orders" }
func (s *source) Channel() string               { return "billing" }
func (s *source) NSQD() string                  { return "nsqd-1:4150" }
func (s *source) Context() context.Context      { return s.ctx }
func (s *source) Terms() *handler.Terms         { return &s.terms }
func (s *source) Touch(*handler.Delivery) error { return nil }

// messages returns n messages with the numbers first, first+1, …
func (s *source) messages(first, n int) []handler.Delivery {
	msgs := make([]handler.Delivery, n)
	for i := range msgs {
		msgs[i].Init(&handler.Read{Source: s, At: s.terms.Now()}, handler.ID{}, uint16(first+i), 0, nil)
	}
	return msgs
}

// bodies returns n messages, numbered from 0, with bodies of size bytes.
func (s *source) bodies(n, size int) []handler.Delivery {
	msgs := s.messages(0, n)
	for i := range msgs {
		msgs[i].Body = make([]byte, size)
	}
	return msgs
}

func pointers(msgs []handler.Delivery) []*handler.Delivery {
	p := make([]*handler.Delivery, len(msgs))
	for i := range msgs {
		p[i] = &msgs[i]
	}
	return p
}

func numbers(msgs []*handler.Delivery) []int {
	var n []int
	for _, m := range msgs {
		n = append(n, int(m.Attempts))
	}
	return n
}

// series returns the numbers from first to last.
func series(first, last int) (n []int) {
	for i := first; i <= last; i++ {
		n = append(n, i)
	}
	return n
}

func wantNumbers(t *testing.T, what string, got []*handler.Delivery, want ...int) {
	t.Helper()
	if n := numbers(got); !slices.Equal(n, want) {
		t.Fatalf("%s: %v, want %v", what, n, want)
	}
}

// newQueueOf returns a queue with a capacity of messages of any size. Workers handle all messages.
func newQueueOf(messages int) *queue {
	q := newQueue()
	q.capacity = capacity{messages, math.MaxInt}
	workersOnly(q)
	return q
}

// workersOnly lets no read loop handle messages.
func workersOnly(q *queue) {
	q.mu.Lock()
	q.readers.barred = time.Now().Add(10_000 * time.Hour)
	q.mu.Unlock()
}

func setCapacity(q *queue, messages, bytes int) {
	q.mu.Lock()
	q.capacity = capacity{messages, bytes}
	q.mu.Unlock()
}

// newWorkers sets the number of workers and returns the new ones. The test plays them; no message is
// counted unless it sets the disposition.
func newWorkers(q *queue, n int) []*worker {
	q.resize(n)
	q.mu.Lock()
	defer q.mu.Unlock()
	workers := make([]*worker, q.missing())
	for i := range workers {
		workers[i] = new(worker)
		q.join(workers[i])
		q.woken--
	}
	return workers
}

// startWorkers makes q start workers that run handle, until it is closed.
func startWorkers(q *queue, running *sync.WaitGroup, handle func(m *handler.Delivery)) {
	q.start = func() {
		w := new(worker)
		q.join(w)
		running.Go(func() {
			q.started()
			for m := next(q, w); m != nil; m = next(q, w) {
				handle(m)
			}
		})
	}
}

// arrive puts messages as a read loop does that then handles none itself.
func arrive(q *queue, msgs []handler.Delivery) (dead []*handler.Delivery, rest []handler.Delivery, waits bool, err error) {
	defer q.beginRead(nil, len(msgs))
	return q.put(msgs, true)
}

func mustPut(t *testing.T, q *queue, msgs []handler.Delivery) (dead []*handler.Delivery) {
	t.Helper()
	dead, rest, _, err := arrive(q, msgs)
	if err != nil || rest != nil {
		t.Fatalf("put: %v; %d were not taken", err, len(rest))
	}
	return dead
}

// next takes a message for w. It returns nil if w must exit.
func next(q *queue, w *worker) *handler.Delivery {
	if !q.take(w) {
		return nil
	}
	return w.message()
}

// take takes n messages for w.
func take(q *queue, w *worker, n int) (taken []*handler.Delivery) {
	for range n {
		taken = append(taken, next(q, w))
	}
	return taken
}

// snapshot returns the Snapshot of a pool that has only the queue.
func snapshot(q *queue) Snapshot { return (&Pool{queue: q}).Snapshot() }

func waiting(q *queue) int              { return snapshot(q).Waiting }
func idle(q *queue) int                 { return snapshot(q).Idle }
func busy(q *queue) time.Duration       { return snapshot(q).BusyTime }
func overCapacity(q *queue) bool        { return snapshot(q).OverCapacity }
func oldest(q *queue) *handler.Delivery { return snapshot(q).Oldest }

// current returns the message that w handles; nil if there is none.
func current(q *queue, w *worker) *handler.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(w.current) == 0 {
		return nil
	}
	return w.message()
}

const (
	nsqd1 = "nsqd-1:4150"
	nsqd2 = "nsqd-2:4150"
)

// service is a pool whose messages arrive on connections. For use in a bubble.
type service struct {
	*Pool
	t         *testing.T
	net       *fake.Network
	dialled   chan *line
	identify  map[string]any // over nsqd's answer to IDENTIFY
	heartbeat time.Duration  // of connections; 0: the default
	block     chan struct{}  // of connections: answers wait until it is closed; nil: they do not
	watching  atomic.Bool
	succeeded atomic.Int32
	rescued   chan error // errors that Rescue was called with
	lines     []*line
}

// newService returns a service with workers that run handle. An error of handle is a REQ without
// delay, and Goexit a REQ with a delay of 10 s.
func newService(t *testing.T, workers int, handle func(d *handler.Delivery) error) *service {
	return newServiceOf(t, workers, func(d *handler.Delivery) handler.Outcome {
		if err := handle(d); err != nil {
			return handler.Outcome{Disposition: handler.Requeue, Err: err}
		}
		return handler.Outcome{Disposition: handler.Finish}
	})
}

func newServiceOf(t *testing.T, workers int, process func(d *handler.Delivery) handler.Outcome) *service {
	return makeService(t, workers, process, nil)
}

func makeService(t *testing.T, workers int, process func(d *handler.Delivery) handler.Outcome, group *Group) *service {
	s := &service{t: t, dialled: make(chan *line, 1), rescued: make(chan error, 100)}
	s.net = fake.NewNetwork(t, s.serve)
	s.Pool = New(Config{
		Process: process, Group: group,
		Rescue: func(_ *handler.Delivery, err error) handler.Outcome {
			s.rescued <- err
			return handler.Outcome{Disposition: handler.Requeue, Delay: 10 * time.Second, Err: err}
		},
		Watching: &s.watching, Succeeded: func() { s.succeeded.Add(1) },
		MaxRequeueDelay: time.Minute,
	})
	s.SetLimits(1000, math.MaxInt, math.MaxInt)
	if workers > 0 {
		s.Resize(workers)
	}
	t.Cleanup(func() {
		for _, l := range s.lines {
			l.conn.Abort(nil)
			<-l.served
		}
		s.Close()
		if !s.Wait(time.Hour) {
			t.Error("workers do not end")
		}
	})
	return s
}

// line is a connection and nsqd's end of it.
type line struct {
	t      *testing.T
	conn   *conn.Conn
	p      *fake.Peer
	served chan struct{}
	block  chan struct{} // see service
	err    error         // of Serve, once served is closed

	log fake.Journal // commands after SUB
}

// serve is the script of nsqd.
func (s *service) serve(p *fake.Peer) {
	p.Subscribe(s.identify)
	l := &line{t: s.t, p: p, served: make(chan struct{})}
	s.dialled <- l
	l.log.Follow(p)
}

// dial returns a new connection.
func (s *service) dial(addr string) *line {
	s.t.Helper()
	c, err := conn.Dial(context.Background(), addr, conn.Config{DialContext: s.dialContext(s.block), HeartbeatInterval: s.heartbeat},
		&conn.Subscription{Topic: "orders", Channel: "billing"})
	if err != nil {
		s.t.Fatal(err)
	}
	l := <-s.dialled
	l.conn, l.block = c, s.block
	go func() {
		defer close(l.served)
		l.err = c.Serve(s)
	}()
	c.SetQuota(100)
	s.lines = append(s.lines, l)
	return l
}

// blockedConn is a net.Conn whose answers wait.
type blockedConn struct {
	net.Conn
	block chan struct{}
}

func (c blockedConn) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("FIN")) {
		<-c.block
	}
	return c.Conn.Write(p)
}

func (s *service) dialContext(block chan struct{}) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := s.net.DialContext(ctx, network, addr)
		if block != nil && err == nil {
			c = blockedConn{c, block}
		}
		return c, err
	}
}

// Deliver implements [conn.Sink] as a consumer does.
func (s *service) Deliver(from *conn.Conn, msgs []handler.Delivery) {
	rest, _, err := s.Put(msgs, from.Works())
	d, delay := handler.Requeue, time.Second
	if err == ErrClosed {
		d, delay = handler.Interrupted, 0
	}
	for i := range rest {
		s.Requeue(&rest[i], d, delay)
	}
}

// Work implements [conn.Worker] as a consumer does.
func (s *service) Work(t *conn.Turn, n int) (relieved bool) { return s.Pool.Work(t, n) }

func (s *service) Refused(_ *conn.Conn, err error) { s.t.Errorf("nsqd refuses an answer: %v", err) }
func (s *service) Yielded(*conn.Conn)              {}

// wantStop closes the pool, then the connections in good order, and checks how long handlers took.
func (s *service) wantStop(d time.Duration) {
	s.t.Helper()
	began := time.Now()
	s.Close()
	check.Want(s.t, "all workers have ended", s.Wait(time.Hour), true)
	check.Want(s.t, "time until all workers have ended", time.Since(began), d)
	for _, l := range s.lines {
		l.conn.CloseWrite()
		<-l.served
		check.Want(s.t, "error of Serve", l.err, nil)
	}
}

// send delivers messages in one write each. The body is the id.
func (l *line) send(ids ...uint64) {
	for _, id := range ids {
		l.p.Message(fake.ID(id), 1, []byte(fake.ID(id)))
	}
	synctest.Wait()
}

// flood delivers n messages in one write.
func (l *line) flood(first uint64, n int) {
	l.p.Raw(fake.Messages(first, n))
}

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

// disposed are numbers of messages by disposition; those that are missing are 0.
type disposed map[handler.Disposition]uint64

func (s *service) wantCounts(what string, want disposed) {
	s.t.Helper()
	for d, n := range s.Counts() {
		if n != want[d] {
			s.t.Errorf("%s: %d %s, want %d", what, n, d, want[d])
		}
	}
}
