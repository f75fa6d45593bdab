package nsqx

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
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
	var bad *conn.Conn // the last that has failed
	var failure error  // how; an ErrUnconfirmed is kept
	var expired <-chan time.Time
	for {
		c, changed, down := p.choose(prefer, bad)
		if c != nil {
			*asked = c.Addr()
			err := c.Publish(ctx, pub)
			if err == nil {
				return nil
			}
			if !errors.Is(failure, ErrUnconfirmed) {
				failure = err
			}
			if !p.goesOn(ctx, err) {
				return failure
			}
			pub.Alone, bad = true, c
			continue
		}
		if down != nil && (p.patience == 0 || hopeless(down)) {
			return notSent(pub, failure, down)
		}
		if expired == nil && p.patience > 0 {
			timer := time.NewTimer(p.patience)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-changed:
		case <-expired:
			return notSent(pub, failure, down)
		case <-ctx.Done():
			return notSent(pub, failure, ended(ctx), down)
		}
	}
}

// goesOn says whether another nsqd is to be asked, or the same again.
func (p *publishing) goesOn(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	return errors.Is(err, ErrNotSent) || p.again && errors.Is(err, ErrUnconfirmed)
}

// notSent is the error of a publish that no nsqd could be asked for, after a failure if
// there was one, which may have left it unconfirmed.
func notSent(pub *conn.Pub, failure error, why ...error) error {
	e := &PublishError{Kind: ErrNotSent, Topic: pub.Topic}
	if f, ok := errors.AsType[*PublishError](failure); ok {
		e.Kind, e.NSQD = f.Kind, f.NSQD
		why = append([]error{f.Err}, why...)
	}
	if e.Err = errors.Join(why...); e.Err == nil {
		e.Err = ErrNoNSQD // it is still being dialled
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
	if o := p.find(prefer); o != nil && (bad == nil || o.conn != bad) {
		if o.conn != nil {
			return o.conn, nil, nil
		}
		if o.trying() {
			return nil, p.changed, nil
		}
	}
	if c := p.next(bad); c != nil {
		return c, nil, nil
	}
	down = ErrNoNSQD
	for _, o := range p.outlets {
		if o.conn != nil || o.trying() { // it may be the bad one, which ends and is dialled anew
			return nil, p.changed, nil
		}
		down = errors.Join(down, o.lastErr)
	}
	return nil, p.changed, down
}

// next returns the connection whose turn it is.
func (p *publishing) next(bad *conn.Conn) *conn.Conn {
	conns := *p.connected.Load()
	if len(conns) == 0 {
		return nil
	}
	turn := int(p.turn.Add(1))
	for i := range conns {
		if c := conns[(turn+i)%len(conns)]; c != bad {
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

// noSink takes what a publishing connection never delivers.
type noSink struct{}

func (noSink) Deliver(*conn.Conn, []handler.Message) {}
func (noSink) Refused(*conn.Conn, error)             {}
func (noSink) Yielded(*conn.Conn)                    {}

// await waits until there is a connection.
func (p *publishing) await(ctx context.Context) error {
	var expired <-chan time.Time
	for {
		c, changed, down := p.choose("", nil)
		if c != nil {
			return nil
		}
		if down != nil && (p.patience == 0 || hopeless(down)) {
			return down
		}
		if expired == nil && p.patience > 0 {
			timer := time.NewTimer(p.patience)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-changed:
		case <-expired:
			return errors.Join(ErrNoNSQD, down)
		case <-ctx.Done():
			return errors.Join(ended(ctx), down)
		}
	}
}
