package nsqx

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// publishing gets publishes to one of several nsqds, over connections of its own: an
// answer to a publish must not be mistaken for one to a consumer's command. A
// [Publisher] has one, whose outlets stay connected; and so has a consumer, for
// its dead letters, whose outlets connect when they are needed.
type publishing struct {
	cfg      *sharedConfig
	limit    conn.Limits
	lazy     bool
	again    bool          // publish once more what is unconfirmed
	patience time.Duration // how long to wait for an nsqd when none can be reached; 0: until all have failed
	events   *events       // nil: nobody is told

	ctx     context.Context // ends the dialling
	cancel  context.CancelFunc
	running sync.WaitGroup // of outlets

	connected atomic.Pointer[[]*conn.Conn]
	turn      atomic.Uint32

	confirmed, rejected, notSent, unconfirmed atomic.Uint64 // messages
	skipped                                   atomic.Uint64 // went without their headers

	buffers sync.Pool // of *[][]byte: the bodies of one publish

	mu      sync.Mutex // after engine.mu
	closed  bool
	outlets []*outlet
	changed chan struct{} // closed, and replaced, when an outlet has changed
}

func newPublishing(cfg *sharedConfig) *publishing {
	p := &publishing{cfg: cfg, limit: cfg.conn.Limits(), changed: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.connected.Store(new([]*conn.Conn))
	return p
}

// one publishes one command to the nsqd that is preferred, if that works, or else to
// another, and returns when one has confirmed it, or why none has. asked is set to
// the address of the one that was asked last. pub is the caller's to change.
func (p *publishing) one(ctx context.Context, pub *conn.Pub, prefer string, asked *string) error {
	var bad *conn.Conn  // the last that has failed
	var failure error   // how; an ErrUnconfirmed is kept
	var until time.Time // how long patience lasts
	for failures := 0; ; {
		c, changed, down := p.choose(prefer, bad)
		if c == nil && down != nil && (p.patience == 0 || hopeless(down)) {
			return notSent(pub, failure, down)
		}
		var err error
		if c != nil {
			*asked = c.Addr()
			if err = c.Publish(ctx, pub); err == nil {
				return nil
			}
			failures++
		}
		if until.IsZero() {
			until = time.Now().Add(p.patience)
		}
		if c == nil {
			if err := p.wait(ctx, changed, until, down); err != nil {
				return notSent(pub, failure, err)
			}
			continue
		}
		if !errors.Is(failure, ErrUnconfirmed) {
			failure = err
		}
		if !p.goesOn(ctx, err) || p.tired(failures, until) {
			if e, ok := errors.AsType[*PublishError](err); ok && err != failure {
				return notSent(pub, failure, e.Err)
			}
			return failure
		}
		pub.Alone, bad = true, c
	}
}

// wait waits for a change and returns nil; or, if ctx ends before, or patience does, why there is no connection.
func (p *publishing) wait(ctx context.Context, changed <-chan struct{}, until time.Time, down error) error {
	var expired <-chan time.Time
	if p.patience > 0 {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-expired:
		return cmp.Or(down, ErrNoNSQD) // it is still being dialled
	case <-ctx.Done():
		return errors.Join(ended(ctx), down)
	}
}

// goesOn says whether another nsqd is to be asked, or the same again.
func (p *publishing) goesOn(ctx context.Context, err error) bool {
	if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(deadline) {
		return false
	}
	return errors.Is(err, ErrNotSent) || p.again && errors.Is(err, ErrUnconfirmed)
}

// tired says whether a publish has failed often and long enough, so that it ends even
// if each nsqd connects again and again, only to fail it.
func (p *publishing) tired(failures int, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return failures > len(p.outlets) && !time.Now().Before(until)
}

// notSent is the error of a publish that is given up, after a failure if there was one,
// which may have left it unconfirmed.
func notSent(pub *conn.Pub, failure, why error) error {
	e := &PublishError{Kind: ErrNotSent, Topic: pub.Topic, Err: why}
	if f, ok := errors.AsType[*PublishError](failure); ok {
		e.Kind, e.NSQD, e.Err = f.Kind, f.NSQD, errors.Join(f.Err, why)
	}
	return e
}

// ended says why a context has.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return errors.Join(ctx.Err(), cause)
	}
	return ctx.Err()
}

// choose returns a connection: the preferred one if there can be one, else any, in
// turns, but not bad, which is about to end. If there is none yet, it returns nil,
// and what is closed when that may have changed; and, if nothing is being tried
// either, why that is so.
func (p *publishing) choose(prefer string, bad *conn.Conn) (c *conn.Conn, changed <-chan struct{}, down error) {
	if prefer == "" {
		if c := p.next(bad); c != nil {
			return c, nil, nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, p.changed, errPublisherClosed
	}
	if o := p.find(prefer); o != nil {
		if usable(o.conn, bad) {
			return o.conn, nil, nil
		}
		if o.conn == nil && o.trying() {
			return nil, p.changed, nil
		}
	}
	if c := p.next(bad); c != nil {
		return c, nil, nil
	}
	why := []error{ErrNoNSQD}
	for _, o := range p.outlets {
		if o.conn != nil || o.trying() { // it may be the bad one, which ends and is dialled anew
			return nil, p.changed, nil
		}
		why = append(why, o.lastErr)
	}
	return nil, p.changed, errors.Join(why...)
}

// usable says whether a connection may be asked. One that ends is there until all is
// over.
func usable(c, bad *conn.Conn) bool { return c != nil && c != bad && c.Alive() }

// next returns the connection whose turn it is.
func (p *publishing) next(bad *conn.Conn) *conn.Conn {
	conns := *p.connected.Load()
	if len(conns) == 0 {
		return nil
	}
	n, turn := uint32(len(conns)), p.turn.Add(1)
	for i := range n {
		if c := conns[(turn+i)%n]; usable(c, bad) {
			return c
		}
	}
	return nil
}

// find returns the outlet of an address; nil if there is none. The caller holds mu.
func (p *publishing) find(addr string) *outlet {
	i := slices.IndexFunc(p.outlets, func(o *outlet) bool { return o.addr == addr })
	if i < 0 {
		return nil
	}
	return p.outlets[i]
}

// announce tells all who wait that an outlet has changed. The caller holds mu.
func (p *publishing) announce() {
	var conns []*conn.Conn
	for _, o := range p.outlets {
		if o.conn != nil {
			conns = append(conns, o.conn)
		}
	}
	p.connected.Store(&conns)
	close(p.changed)
	p.changed = make(chan struct{})
}

// connect adds an outlet for an address: see finder.
func (p *publishing) connect(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	o := p.find(addr)
	if o == nil {
		o = &outlet{p: p, addr: addr, anew: make(chan struct{}, 1), redial: newRedial()}
		p.outlets = append(p.outlets, o)
	}
	o.wanted = true
	if !p.lazy {
		o.start()
	}
}

// redial dials an address at once if it is not connected: see finder.
func (p *publishing) redial(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.find(addr); o != nil && o.conn == nil {
		o.hurry()
	}
}

// forget dials an address no more. If it is connected, it stays so: see finder.
func (p *publishing) forget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.find(addr); o != nil {
		o.wanted = false
		if !o.running {
			o.remove()
			return
		}
		o.hurry()
	}
}

// unanswered counts messages that nsqds have not answered yet.
func (p *publishing) unanswered() (n int) {
	for _, c := range *p.connected.Load() {
		n += c.Unanswered()
	}
	return n
}

// close lets nothing more be published, ends all connections, in good order or at
// once, and waits for that.
func (p *publishing) close(atOnce bool) {
	p.mu.Lock()
	p.closed = true
	p.announce()
	conns := *p.connected.Load()
	p.mu.Unlock()
	p.cancel()
	for _, c := range conns {
		if atOnce {
			c.Abort(nil)
		} else {
			c.CloseWrite()
		}
	}
	p.running.Wait()
}

// await waits until there is a connection.
func (p *publishing) await(ctx context.Context) error {
	until := time.Now().Add(p.patience)
	for {
		c, changed, down := p.choose("", nil)
		if c != nil {
			return nil
		}
		if down != nil && (p.patience == 0 || hopeless(down)) {
			return down
		}
		if err := p.wait(ctx, changed, until, down); err != nil {
			return err
		}
	}
}
