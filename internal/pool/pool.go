// Package pool holds the messages that wait for a handler, and the workers that handle them.
//
// A message goes through it once: Put appends it to a deque; a worker takes it, runs the chain
// (Config.Process), and answers on the message's connection.
package pool

import (
	"context"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
)

// Config is what a Pool needs of its owner. All fields but Group, Early, Labels and Unhandled are
// required.
type Config struct {
	// Group makes workers handle several messages together, instead of Process and Rescue; nil for one
	// at a time.
	Group *Group

	// Process runs the chain of a message and returns the outcome. It does not panic, but user code
	// in it may call runtime.Goexit.
	Process func(*handler.Delivery) handler.Outcome

	// Rescue returns the outcome of a message whose Process ended by runtime.Goexit.
	Rescue func(*handler.Delivery, error) handler.Outcome

	// Watching is true while Succeeded is to be called after each success.
	Watching  *atomic.Bool
	Succeeded func()

	// Early returns how long a message must still wait that came before its time; ok is false for the
	// others. nil: none does.
	Early func(*handler.Delivery) (wait time.Duration, ok bool)

	// MaxRequeueDelay bounds the delay of Requeue.
	MaxRequeueDelay time.Duration

	// Labels has the labels of the workers' goroutines for package runtime/pprof; nil for none.
	Labels context.Context

	// Unhandled is called for each message that Requeue takes, before nsqd is told; nil for nothing.
	Unhandled func(*handler.Delivery)
}

// Pool is a queue and its workers. Its methods are safe for concurrent use.
type Pool struct {
	cfg   Config
	queue *queue

	park func(*handler.Delivery) // the method queue.park

	skipped   [handler.Lost + 1]atomic.Uint64 // messages that no worker handled, by disposition
	givenBack atomic.Uint64                   // of them, those that nsqd was sent a REQ for, except in the drain
	early     atomic.Uint64                   // of them, those that came before their time
}

// New returns a pool without workers.
func New(cfg Config) *Pool {
	p := &Pool{cfg: cfg, queue: newQueue()}
	if cfg.Group != nil {
		p.queue.group = newGrouping(cfg.Group)
	} else {
		p.park = p.queue.park
	}
	p.queue.start = p.start
	return p
}

// Put adds the messages of one read. What it does not take, because the pool is closed or suspended
// or has no room (ErrClosed, ErrSuspended, ErrFlood), is rest: the newest of msgs. waits reports whether
// messages wait for a worker that is busy. works says that Work follows.
func (p *Pool) Put(msgs []handler.Delivery, works bool) (rest []handler.Delivery, waits bool, err error) {
	var last *handler.Read
	for i := range msgs {
		if r := msgs[i].Read(); r != last {
			r.Park, last = p.park, r
		}
	}
	dead, rest, waits, err := p.queue.put(msgs, works)
	for _, m := range dead {
		p.Requeue(m, handler.Requeue, 0)
	}
	return rest, waits, err
}

// Resize sets the number of workers, at least 1. Each starts when a message finds no idle one.
// Workers that are too many exit when they come for their next message. After Close it does nothing.
func (p *Pool) Resize(n int) { p.queue.resize(n) }

// start starts a worker. The caller holds queue.mu.
func (p *Pool) start() {
	w, run := p.newWorker()
	p.queue.join(w)
	go func() {
		p.label()
		p.queue.started()
		run(nil)
	}()
}

// label labels the goroutine for package runtime/pprof. Goroutines that replace it inherit that.
func (p *Pool) label() {
	if p.cfg.Labels != nil {
		pprof.SetGoroutineLabels(p.cfg.Labels)
	}
}

func (p *Pool) newWorker() (w *worker, run func(error)) {
	if p.cfg.Group != nil {
		g := &groupWorker{worker: worker{p: p}}
		g.group = g
		return &g.worker, g.run
	}
	w = &worker{p: p}
	return w, w.run
}

// SetLimits sets how many messages, and bytes of bodies, may wait, and how many messages may be in
// flight: a group that holds all of them is complete. What waits already stays.
func (p *Pool) SetLimits(waiting, bytes, inFlight int) {
	p.queue.mu.Lock()
	p.queue.capacity = capacity{waiting, bytes}
	if g := p.queue.group; g != nil {
		g.most = inFlight
	}
	p.queue.unlock()
}

// Tick gives back what cannot be answered any more, and lets others read in place of goroutines that are
// busy since the last Tick: it must be called within a second of Put, and 100 ms later, while Snapshot
// has Reading. With rest, because there was nothing to do for a while, idle workers end and the memory
// that a backlog needs is freed.
func (p *Pool) Tick(rest bool) {
	if rest {
		p.queue.rest()
	}
	p.queue.relieveStalled()
	for _, m := range p.queue.dropDead() {
		p.Requeue(m, handler.Requeue, 0)
	}
}

// Shed gives back what waits beyond keep messages: the newest first. It returns how many.
func (p *Pool) Shed(keep int) int {
	msgs := p.queue.shed(keep)
	for _, m := range msgs {
		p.Requeue(m, handler.Requeue, 0)
	}
	return len(msgs)
}

// Suspend gives back all that waits, with a delay, and starts no handler until Resume. It returns how
// many messages it gave back.
func (p *Pool) Suspend(delay time.Duration) int {
	msgs := p.queue.suspend()
	for _, m := range msgs {
		p.Requeue(m, handler.Requeue, delay)
	}
	return len(msgs)
}

// Resume ends Suspend.
func (p *Pool) Resume() { p.queue.resume() }

// Close gives back what waits and ends the workers when their handlers have returned.
func (p *Pool) Close() {
	for _, m := range p.queue.close() {
		p.Requeue(m, handler.Interrupted, 0)
	}
}

// Wait waits until all workers have ended, at most for d. It returns false if some have not.
func (p *Pool) Wait(d time.Duration) bool { return guard.Closed(p.queue.done, d) }

// Requeue gives back a message that no handler has seen, and counts it as d. It returns false if no
// answer could be sent.
func (p *Pool) Requeue(m *handler.Delivery, d handler.Disposition, delay time.Duration) (sent bool) {
	if p.cfg.Unhandled != nil {
		p.cfg.Unhandled(m)
	}
	if sent = p.skip(m, d, delay); sent && d == handler.Requeue {
		p.givenBack.Add(1)
	}
	return sent
}

// postpone gives back a message that came before its time. It is no result: nothing of the message
// was tried.
func (p *Pool) postpone(m *handler.Delivery, wait time.Duration) {
	if p.skip(m, handler.Requeue, wait) {
		p.early.Add(1)
	}
}

// skip answers a message that no worker handles, and counts it as d if the answer was sent.
func (p *Pool) skip(m *handler.Delivery, d handler.Disposition, delay time.Duration) (sent bool) {
	if sent = m.Source().(*conn.Conn).Requeue(m, min(delay, p.cfg.MaxRequeueDelay)); !sent {
		d = unanswered(m)
	}
	m.Release()
	p.skipped[d].Add(1)
	return sent
}

// comesEarly returns how long m must still wait if it came before its time.
func (p *Pool) comesEarly(m *handler.Delivery) (wait time.Duration, ok bool) {
	if p.cfg.Early == nil || !m.Scheduled() { // nearly always
		return 0, false
	}
	return p.cfg.Early(m)
}
