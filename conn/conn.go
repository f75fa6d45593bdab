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
)

// Sink takes what a connection reads. Its methods are called by the
// connection's read loop, one at a time, and must not block: while they run no
// heartbeat is answered. (Yielded is the write loop's.)
type Sink interface {
	// Deliver takes over messages, and is to see to it that each is answered
	// (Finish, Requeue, Forget) and then released.
	Deliver(c *Conn, msgs []handler.Message)

	// Refused reports an error of nsqd that does not end the connection: an
	// answer or a TOUCH came too late (E_FIN_FAILED, E_REQ_FAILED,
	// E_TOUCH_FAILED).
	Refused(c *Conn, err error)

	// Yielded reports that nsqd keeps to a share that was lowered: RDY and the
	// messages in flight are within it. It is called by the write loop.
	Yielded(c *Conn)
}

// Conn is one connection to one nsqd, from [Dial] to the return of
// [Conn.Serve]. All methods but Serve are safe for concurrent use and none of
// them waits for the network, except Publish.
type Conn struct {
	addr  string
	cfg   Config
	sub   *Subscription // nil: a connection that publishes
	tr    *transport
	terms handler.Terms

	ctx    context.Context // parent of the contexts of messages
	cancel context.CancelCauseFunc

	out       outbox
	lastRead  atomic.Int64 // when something was read, since terms.Start
	touched   touchedSet
	schedule  schedule      // of TOUCH
	closeWait chan struct{} // closed when CLOSE_WAIT has come
	done      chan struct{} // closed by Abort

	mu      sync.Mutex
	failure error       // why the connection ended: the first reason wins
	forced  *time.Timer // armed by endWithin
}

// Dial connects to the nsqd at addr ("host:port", or "unix:///path") and
// completes the handshake: IDENTIFY, TLS, compression, AUTH, and SUB if sub is
// given. Without sub the connection is one to publish on. The error is an
// [*Error].
//
// ctx ends the dialling and the handshake. Its values, not its end, are
// inherited by the contexts of the messages.
//
// A Conn must be served, or aborted: see [Conn.Serve] and [Conn.Abort].
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
	c.out.init()
	c.out.bufferSize = nsqdBuffer(tr)
	c.out.pubs.maxWrites = maxWrites(tr.rtt)
	c.out.rdy.max = int(min(tr.resp.MaxRdyCount, maxRDY))
	c.out.rdy.fixed = sub != nil && sub.FixedRDY
	c.out.rdy.window = flow.NewWindow(tr.rtt)
	return c, nil
}

// margin is what may lie between nsqd's clock and ours. nsqd counts the timeout of
// a message from when it puts it into its output buffer.
func margin(tr *transport) time.Duration {
	return min(max(250*time.Millisecond, tr.resp.OutputBufferTimeout)+2*tr.rtt, tr.resp.MsgTimeout/4)
}

// nsqdBuffer is how many bytes nsqd collects before it writes them in any case.
func nsqdBuffer(tr *transport) int {
	const usual = 16 << 10
	switch n := tr.resp.OutputBufferSize; {
	case n < 0:
		return 0
	case n == 0: // it has not said
		return usual
	default:
		return int(n)
	}
}

// maxRDY bounds what nsqd may say its max-rdy-count is.
const maxRDY = 1 << 20

// closeTimeout is how long a half-closed connection waits for nsqd's end of it.
const closeTimeout = 500 * time.Millisecond

// Serve reads and writes until the connection ends, and returns why: nil after
// a [Conn.CloseWrite] that nsqd has confirmed by closing its side, which proves
// that it has read every answer; else an [*Error]. When it returns, the socket
// is closed, the contexts of the messages have ended, and nothing that Serve
// started is left. Call it once.
func (c *Conn) Serve(sink Sink) error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.writeLoop(sink)
	}()
	err := newReader(c, sink).loop()
	c.Abort(c.ending(err))
	<-c.done // whoever has aborted it
	<-written
	c.schedule.end()
	c.mu.Lock()
	if c.forced != nil {
		c.forced.Stop()
	}
	err = c.failure
	c.mu.Unlock()
	if err == errClosed {
		return nil
	}
	return err
}

// ending says what the end of the read loop means.
func (c *Conn) ending(err error) error {
	if c.out.allWritten() && (err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)) {
		// Over TLS and deflate the end comes as an unexpected one.
		return errClosed
	}
	return err
}

// Abort ends the connection at once, for the given reason, which Serve returns
// as an [*Error]; what was not yet written is lost. If it ended before, for
// whatever reason, nothing happens. It does not wait: Serve returns when all is
// over. On a connection that is not being served it just closes the socket.
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
	c.out.close(failure) // first: who sees the end of a context sees that nothing can be answered
	c.cancel(handler.ErrConnLost)
	// Not the Close of a tls.Conn: it writes, and may wait 5 s for that.
	raw := c.tr.nc
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	raw.Close()
}

// Done is closed when the connection has ended, whatever the reason, and its
// socket is closed. Serve may not have returned yet.
func (c *Conn) Done() <-chan struct{} { return c.done }

// CancelMessages ends the contexts of the connection's messages with the given
// cause. They can still be answered.
func (c *Conn) CancelMessages(cause error) { c.cancel(cause) }

// StopDelivery sends CLS: nsqd sends no more messages, except those on their
// way, and no RDY is written from now on. [Conn.DeliveryStopped] tells when
// nsqd has confirmed it; answers are possible until CloseWrite.
func (c *Conn) StopDelivery() { c.out.stopDelivery() }

// DeliveryStopped is closed when nsqd has answered StopDelivery. It has then
// also processed every answer written before that.
func (c *Conn) DeliveryStopped() <-chan struct{} { return c.closeWait }

// CloseWrite ends the connection in good order: what is queued is written,
// the writing half is closed, and Serve returns when nsqd has closed the other
// half. (A plain close would throw away answers that nsqd has not read yet,
// whenever there is unread input.) If nsqd has not closed after half a second,
// the connection is aborted.
func (c *Conn) CloseWrite() {
	if c.endWithin(closeTimeout, &Error{Addr: c.addr, Phase: PhaseClose, Err: ErrNotConfirmed}) {
		c.out.closeWrite()
	}
}

// endWithin aborts the connection after d. It returns false if the end is in
// sight already.
func (c *Conn) endWithin(d time.Duration, reason error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forced != nil || c.failure != nil {
		return false
	}
	c.forced = time.AfterFunc(d, func() { c.Abort(reason) })
	return true
}

// Finish answers a message with FIN. It returns false, and nothing is sent, if
// the message was settled before or the connection is gone.
func (c *Conn) Finish(m *handler.Message) bool { return m.Claim() && c.out.answer(m, answerFinish, 0) }

// FinishEnded is Finish for messages of the connection that the caller has claimed
// (see [handler.Message.End]), and for goroutines that answer very many: those that
// pass different small numbers do not contend with each other.
func (c *Conn) FinishEnded(shard int, msgs []handler.Message) bool {
	return c.out.finish(shard, msgs)
}

// Requeue answers a message with REQ and a delay, which is rounded up to
// milliseconds. It returns false, and nothing is sent, if the message was
// settled before, if nsqd may have given it to someone else by now, or if the
// connection is gone. The write loop asks for the time again.
func (c *Conn) Requeue(m *handler.Message, delay time.Duration) bool {
	if !c.claimInTime(m) {
		return false
	}
	ms := max(delay, 0).Milliseconds()
	if delay > time.Duration(ms)*time.Millisecond {
		ms++
	}
	return c.out.answer(m, answerRequeue, ms)
}

// GiveUp answers a message with FIN although no handler has succeeded. Like
// Requeue it sends nothing when nsqd may have given it to someone else: that
// delivery would be ended.
func (c *Conn) GiveUp(m *handler.Message) bool {
	return c.claimInTime(m) && c.out.answer(m, answerGiveUp, 0)
}

// claimInTime claims a message for an answer that must not be late.
func (c *Conn) claimInTime(m *handler.Message) bool {
	if !m.Claim() {
		return false
	}
	if !m.Answerable() {
		c.out.forget()
		return false
	}
	return true
}

// Forget gives a message up unanswered: nsqd delivers it again when its
// timeout is over. It returns false if the message was settled before.
func (c *Conn) Forget(m *handler.Message) bool {
	if !m.Claim() {
		return false
	}
	c.out.forget()
	return true
}

// Alive says whether an answer has a chance to be sent.
func (c *Conn) Alive() bool { return !c.out.dead.Load() }

// Addr returns the address that was dialled.
func (c *Conn) Addr() string { return c.addr }

// NSQD is Addr, as a [handler.Source] has it.
func (c *Conn) NSQD() string { return c.addr }

// Topic returns the topic subscribed to.
func (c *Conn) Topic() string {
	if c.sub == nil {
		return ""
	}
	return c.sub.Topic
}

// Channel returns the channel subscribed to.
func (c *Conn) Channel() string {
	if c.sub == nil {
		return ""
	}
	return c.sub.Channel
}

// Context is the parent of the contexts of the connection's messages.
func (c *Conn) Context() context.Context { return c.ctx }

// Terms are the time limits of the connection's messages.
func (c *Conn) Terms() *handler.Terms { return &c.terms }
