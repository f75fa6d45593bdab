package nsqx

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// publisherIdle is how long a publishing connection is kept that nobody uses.
const publisherIdle = 30 * time.Second

// publisher publishes to a few nsqds, over connections of its own: an answer to
// a publish must not be mistaken for one to a consumer's command. They are
// opened when they are needed, shared by all who publish, and closed when idle.
type publisher struct {
	cfg   conn.Config
	addrs func() []string // of all nsqds that are known

	ctx    context.Context // ends the dialling
	cancel context.CancelFunc
	served sync.WaitGroup

	mu     sync.Mutex
	closed bool
	routes map[string]*route
}

// route is a connection to one nsqd, from the decision to dial it to its end.
type route struct {
	ready chan struct{} // closed when conn or err is set
	conn  *conn.Conn
	err   error

	users int         // guarded by publisher.mu
	idle  *time.Timer // closes the connection; guarded by publisher.mu
}

// over says whether the route has come to its end. publisher.serve is about to
// forget it.
func (r *route) over() bool {
	select {
	case <-r.ready:
	default:
		return false
	}
	if r.err != nil {
		return true
	}
	select {
	case <-r.conn.Done():
		return true
	default:
		return false
	}
}

func newPublisher(cfg conn.Config, addrs func() []string) *publisher {
	p := &publisher{cfg: cfg, addrs: addrs, routes: make(map[string]*route)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// publish publishes to the nsqd at addr, or to another if that fails, and
// returns nil when one of them has confirmed it.
func (p *publisher) publish(ctx context.Context, addr, topic string, body []byte) error {
	others := slices.DeleteFunc(p.addrs(), func(a string) bool { return a == addr })
	var errs []error
	for _, addr := range append([]string{addr}, others...) {
		if addr == "" { // of a message that came from no nsqd
			continue
		}
		err := p.publishTo(ctx, addr, topic, body)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (p *publisher) publishTo(ctx context.Context, addr, topic string, body []byte) error {
	r, err := p.use(addr)
	if err != nil {
		return err
	}
	defer p.unuse(addr, r)
	select {
	case <-r.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.err != nil {
		return r.err
	}
	return r.conn.Publish(ctx, topic, body)
}

// use returns the route to addr, opening it if there is none.
func (p *publisher) use(addr string) (*route, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, handler.ErrShutdown
	}
	r := p.routes[addr]
	if r == nil || r.over() {
		r = &route{ready: make(chan struct{})}
		p.routes[addr] = r
		p.served.Go(func() { p.serve(addr, r) })
	}
	r.users++
	if r.idle != nil {
		r.idle.Stop()
		r.idle = nil
	}
	return r, nil
}

func (p *publisher) unuse(addr string, r *route) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.users--; r.users > 0 || p.routes[addr] != r {
		return
	}
	r.idle = time.AfterFunc(publisherIdle, func() { p.retire(addr, r) })
}

// retire closes a connection that nobody has used for a while.
func (p *publisher) retire(addr string, r *route) {
	p.mu.Lock()
	unused := r.users == 0 && p.routes[addr] == r
	if unused {
		delete(p.routes, addr)
	}
	p.mu.Unlock()
	if !unused {
		return
	}
	<-r.ready // it may still be dialling, if its user has lost patience
	if r.conn != nil {
		r.conn.CloseWrite()
	}
}

// serve is the life of a route.
func (p *publisher) serve(addr string, r *route) {
	r.conn, r.err = conn.Dial(p.ctx, addr, p.cfg, nil)
	close(r.ready)
	if r.err == nil {
		_ = r.conn.Serve(noSink{}) // whoever waits for an answer is told
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.routes[addr] == r {
		delete(p.routes, addr)
	}
	if r.idle != nil {
		r.idle.Stop()
	}
}

// close ends all routes in good order and waits for that.
func (p *publisher) close() {
	p.mu.Lock()
	p.closed = true
	routes := p.routes
	p.routes = make(map[string]*route)
	p.mu.Unlock()
	p.cancel()
	for _, r := range routes {
		<-r.ready
		if r.conn != nil {
			r.conn.CloseWrite()
		}
		p.mu.Lock()
		if r.idle != nil {
			r.idle.Stop()
		}
		p.mu.Unlock()
	}
	p.served.Wait()
}

// noSink takes what a publishing connection never delivers.
type noSink struct{}

func (noSink) Deliver(*conn.Conn, []handler.Message) {}
func (noSink) Refused(*conn.Conn, error)             {}
func (noSink) Yielded(*conn.Conn)                    {}
