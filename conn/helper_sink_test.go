package conn_test

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/pipe"
)

// streamSink collects what it receives.
type streamSink struct {
	deliver func(msgs []handler.Delivery)
	work    work

	mu      sync.Mutex
	all     []*handler.Delivery
	batches []int
	fresh   [][]handler.Delivery // since the last Work
	errs    []error              // passed to Refused
	yielded atomic.Int32
}

func (s *streamSink) Deliver(_ *conn.Conn, msgs []handler.Delivery) {
	if s.deliver != nil {
		s.deliver(msgs)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, len(msgs))
	s.fresh = append(s.fresh, msgs)
	for i := range msgs {
		s.all = append(s.all, &msgs[i])
	}
}

// work is what a worker does with the messages of a read, as they were delivered.
type work func(t *conn.Turn, runs [][]handler.Delivery) (relieved bool)

// worker is a streamSink that works.
type worker struct{ *streamSink }

func (w worker) Work(t *conn.Turn, n int) (relieved bool) {
	w.mu.Lock()
	runs := w.fresh
	w.fresh = nil
	w.mu.Unlock()
	return w.work(t, runs)
}

func (s *streamSink) Refused(_ *conn.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

func (s *streamSink) Yielded(*conn.Conn) { s.yielded.Add(1) }

func (s *streamSink) messages() []*handler.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *streamSink) refused() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.errs)
}

// streamTap is the client's end of the connection. It records writes and can block either
// direction.
type streamTap struct {
	*pipe.Conn
	chunk int

	mu             sync.Mutex
	writes         []string
	reading, gated chan struct{} // nil: not blocked
	broken         error         // returned by writes
	fail           func()        // called by writes, unless nil
	room           atomic.Int64  // of the last read, in bytes
}

func (c *streamTap) Read(p []byte) (int, error) {
	if c.chunk > 0 {
		p = p[:min(len(p), c.chunk)]
	}
	c.room.Store(int64(len(p)))
	n, err := c.Conn.Read(p)
	c.pass(&c.reading)
	return n, err
}

func (c *streamTap) Write(p []byte) (int, error) {
	c.pass(&c.gated)
	c.mu.Lock()
	err, fail := c.broken, c.fail
	if err == nil {
		c.writes = append(c.writes, string(p))
	}
	c.mu.Unlock()
	if fail != nil {
		fail()
	}
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *streamTap) pass(gate *chan struct{}) {
	c.mu.Lock()
	g := *gate
	c.mu.Unlock()
	if g != nil {
		<-g
	}
}

func (c *streamTap) hold(gate *chan struct{}) (open func()) {
	g := make(chan struct{})
	c.mu.Lock()
	*gate = g
	c.mu.Unlock()
	return sync.OnceFunc(func() {
		c.mu.Lock()
		*gate = nil
		c.mu.Unlock()
		close(g)
	})
}

// holdWrites blocks writes until open is called.
func (c *streamTap) holdWrites() (open func()) { return c.hold(&c.gated) }

// holdReads blocks reads, after they have read, until open is called.
func (c *streamTap) holdReads() (open func()) { return c.hold(&c.reading) }

// breakWrites makes writes fail.
func (c *streamTap) breakWrites(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = err
}

func (c *streamTap) forget() { c.written() }

// written returns the writes since the last call.
func (c *streamTap) written() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writes
	c.writes = nil
	return w
}
