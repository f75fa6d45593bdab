package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/guard"
)

// Sink receives what a connection reads. Except for Yielded, its methods are called by the goroutine
// that reads, one at a time. They must not block: no heartbeat is answered while they run.
type Sink interface {
	// Deliver takes ownership of msgs. Each message must be answered once (Finish, Requeue, GiveUp
	// or Forget) and then released. One with a Fault must not be handled: see [SizeError].
	Deliver(c *Conn, msgs []handler.Delivery)

	// Refused reports an nsqd error that does not end the connection: nsqd refused an answer or a
	// TOUCH (E_FIN_FAILED, E_REQ_FAILED, E_TOUCH_FAILED). It came too late, or nsqd counts wrongly:
	// see [Conn.Drift].
	Refused(c *Conn, err error)

	// Yielded reports that nsqd obeys a lowered quota: RDY and the messages in flight are within
	// it. It is called by the goroutine that writes.
	Yielded(c *Conn)
}

// Conn is one connection to one nsqd, from [Dial] until [Conn.Serve] returns. All methods except
// Serve are safe for concurrent use, and none waits for the network except Publish.
type Conn struct {
	addr  string
	cfg   Config
	sub   *Subscription // nil: publishing
	tr    *transport
	terms handler.Terms

	ctx    context.Context // parent of the message contexts
	cancel context.CancelCauseFunc

	out       outbox
	reader    *reader       // from Serve
	deadline  time.Duration // of writes, since terms.Start; of who writes
	lastRead  atomic.Int64  // time of the last read, since terms.Start
	touched   touchedSet
	schedule  schedule      // of automatic TOUCHes
	closeWait chan struct{} // closed by CLOSE_WAIT
	done      chan struct{} // closed by Abort

	mu      sync.Mutex
	failure error // why the connection ended; the first reason wins
	forced  *time.Timer
}

// Dial connects to the nsqd at addr ("host:port" or "unix:///path") and completes the handshake:
// IDENTIFY, TLS, compression, AUTH and, if sub is not nil, SUB. A connection without sub can only
// publish. The error is an [*Error].
//
// ctx bounds dialling and the handshake. Message contexts inherit its values but not its
// cancellation.
//
// The caller must call [Conn.Serve] or [Conn.Abort].
func Dial(ctx context.Context, addr string, cfg Config, sub *Subscription) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, &Error{Addr: addr, Phase: PhaseDial, Err: err}
	}
	if sub != nil {
		if err := sub.Validate(); err != nil {
			return nil, &Error{Addr: addr, Phase: PhaseDial, Err: err}
		}
		s := *sub
		sub = &s
	}
	cfg = cfg.withDefaults()
	tr, err := handshake(ctx, addr, &cfg, sub)
	if err != nil {
		return nil, err
	}
	c := &Conn{addr: addr, cfg: cfg, sub: sub, tr: tr, closeWait: make(chan struct{}), done: make(chan struct{})}
	c.terms = handler.Terms{
		Start:             time.Now(),
		MessageTimeout:    tr.resp.MsgTimeout,
		MaxMessageTimeout: tr.resp.MaxMsgTimeout,
		Margin:            margin(tr),
	}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.schedule.terms = &c.terms
	c.out.init(&c.terms)
	// An nsqd that requires TLS says so to the first command. That need not be a publish.
	c.out.nop = sub == nil && !tr.resp.TLS
	c.out.bufferSize = nsqdBuffer(tr)
	c.out.pubs.maxWrites = maxWrites(tr.rtt)
	c.out.rdy.max = int(min(tr.resp.MaxRdyCount, maxRDY))
	c.out.rdy.fixed = sub != nil && sub.FixedRDY
	c.out.rdy.window = flow.NewWindow(tr.rtt)
	return c, nil
}

// margin is the time reserved for transfer in both directions and in nsqd's output buffer, during
// which nsqd's message timeout runs.
func margin(tr *transport) time.Duration {
	return min(max(250*time.Millisecond, tr.resp.OutputBufferTimeout)+2*tr.rtt, tr.resp.MsgTimeout/4)
}

// nsqdBuffer returns the size in bytes of nsqd's output buffer, 0 if it is off.
func nsqdBuffer(tr *transport) int {
	const usual = 16 << 10
	switch n := tr.resp.OutputBufferSize; {
	case n < 0:
		return 0
	case n == 0: // not reported
		return usual
	default:
		return int(n)
	}
}

const maxRDY = 1 << 20

// closeTimeout bounds the wait for nsqd's end after the half-close.
const closeTimeout = 500 * time.Millisecond

// Serve reads and writes until the connection ends. It returns nil if nsqd closed its side after a
// [Conn.CloseWrite], which proves that nsqd has read every answer; otherwise it returns an
// [*Error]. On return the socket is closed, the message contexts are cancelled and no goroutine is
// left, except those that a [Worker] was relieved on. Serve must be called at most once.
//
// A net.Conn of DialContext, or a callback of TLS, that panics or calls runtime.Goexit ends the
// connection.
func (c *Conn) Serve(sink Sink) (err error) {
	c.reader = newReader(c, sink)
	c.read()
	guard.Finally(c.writeLoop, func(failure error) {
		if failure != nil {
			c.Abort(failure)
		}
		<-c.reader.ended
		c.out.awaitFlush()
		err = c.end()
	})
	return err
}

// end waits for the end of the connection, and returns its reason.
func (c *Conn) end() error {
	<-c.done // Abort may have been called by another goroutine
	c.schedule.end()
	c.out.endChecks()
	c.mu.Lock()
	if c.forced != nil {
		c.forced.Stop()
	}
	c.mu.Unlock()
	return c.Err()
}

// Err returns what Serve has returned, or will return: nil before the end, and after an orderly one.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == errClosed {
		return nil
	}
	return c.failure
}

// ending returns errClosed for a read error that confirms a half-close.
func (c *Conn) ending(err error) error {
	if c.out.allWritten() && (err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)) {
		// TLS and deflate report the end as unexpected.
		return errClosed
	}
	return err
}

// Abort closes the connection immediately; queued commands are lost. Serve returns reason as an
// [*Error]; a nil reason means [net.ErrClosed]. Abort has no effect on a connection that has ended.
// It does not wait for Serve to return. On a connection that is not being served it only closes the
// socket.
func (c *Conn) Abort(reason error) {
	if reason == nil {
		reason = net.ErrClosed
	}
	c.mu.Lock()
	first := c.failure == nil
	if first {
		c.failure = c.fault(reason)
	}
	failure := c.failure
	c.mu.Unlock()
	if !first {
		return
	}
	defer close(c.done)
	c.out.close(failure) // before cancel: once a message context ends, no answer is accepted
	c.cancel(handler.ErrConnLost)
	// Close of a tls.Conn writes and may block for 5 s.
	raw := c.tr.nc
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	_ = raw.Close()
}

// Done returns a channel that is closed when the connection has ended for any reason and its socket
// is closed. Serve may still be running.
func (c *Conn) Done() <-chan struct{} { return c.done }

// CancelMessages cancels the contexts of the connection's messages with the given cause. The
// messages can still be answered.
func (c *Conn) CancelMessages(cause error) { c.cancel(cause) }

// StopDelivery sends CLS: nsqd sends no messages except those already on their way, and no further
// RDY is written. See [Conn.DeliveryStopped]. Messages can be answered until CloseWrite.
func (c *Conn) StopDelivery() { c.out.stopDelivery() }

// DeliveryStopped returns a channel that is closed when nsqd confirms StopDelivery. nsqd has then
// also processed every answer written before the CLS.
func (c *Conn) DeliveryStopped() <-chan struct{} { return c.closeWait }

// CloseWrite closes the connection gracefully: queued commands are written, the writing half is
// closed, and Serve returns when nsqd closes its half. A plain close with unread input would
// discard answers that nsqd has not read. If nsqd does not close within half a second, the
// connection is aborted with [ErrNotConfirmed].
func (c *Conn) CloseWrite() {
	if c.endWithin(closeTimeout, &Error{Addr: c.addr, Phase: PhaseClose, Err: ErrNotConfirmed}) {
		c.out.closeWrite()
	}
}

// endWithin aborts after d. It returns false if the connection is ending already.
func (c *Conn) endWithin(d time.Duration, reason error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forced != nil || c.failure != nil {
		return false
	}
	c.forced = time.AfterFunc(d, func() { c.Abort(reason) })
	return true
}

// Finish answers a message with FIN. It returns false and sends nothing if the message was already
// settled or the connection has ended.
func (c *Conn) Finish(m *handler.Delivery) bool { return m.Claim() && c.out.answer(m, answerFinish, 0) }

// FinishEnded is Finish for messages of this connection that the caller has claimed (see
// [handler.Delivery.End]), for goroutines that answer many messages.
func (c *Conn) FinishEnded(msgs []handler.Delivery) bool { return c.out.finish(msgs) }

// Requeue answers a message with REQ and a delay, rounded up to milliseconds. It returns false and
// sends nothing if the message was already settled, if nsqd may have redelivered the message, or if
// the connection has ended. A REQ that becomes too late in the write queue is dropped.
func (c *Conn) Requeue(m *handler.Delivery, delay time.Duration) bool {
	if !c.claimInTime(m) {
		return false
	}
	return c.out.answer(m, answerRequeue, c.requeueMillis(delay))
}

// GiveUp answers a message with FIN although no handler succeeded. Like Requeue it sends nothing if
// nsqd may have redelivered the message: the FIN would end the new delivery.
func (c *Conn) GiveUp(m *handler.Delivery) bool {
	return c.claimInTime(m) && c.out.answer(m, answerGiveUp, 0)
}

func (c *Conn) claimInTime(m *handler.Delivery) bool {
	if !m.Claim() {
		return false
	}
	if !m.Answerable() {
		c.out.forget()
		return false
	}
	return true
}

// Forget settles a message without an answer: nsqd redelivers it after the message timeout. It
// returns false if the message was already settled.
func (c *Conn) Forget(m *handler.Delivery) bool {
	if !m.Claim() {
		return false
	}
	c.out.forget()
	return true
}

// Alive reports whether answers can still be sent.
func (c *Conn) Alive() bool { return !c.out.dead.Load() }

// Addr returns the dialled address.
func (c *Conn) Addr() string { return c.addr }

// NSQD returns the dialled address. It implements [handler.Source].
func (c *Conn) NSQD() string { return c.addr }

// Topic returns the subscribed topic, "" for a publishing connection.
func (c *Conn) Topic() string {
	if c.sub == nil {
		return ""
	}
	return c.sub.Topic
}

// Channel returns the subscribed channel, "" for a publishing connection.
func (c *Conn) Channel() string {
	if c.sub == nil {
		return ""
	}
	return c.sub.Channel
}

// Context returns the parent of the message contexts.
func (c *Conn) Context() context.Context { return c.ctx }

// Terms returns the time limits of the connection's messages.
func (c *Conn) Terms() *handler.Terms { return &c.terms }
