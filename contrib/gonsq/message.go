package gonsq

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// Func makes a handler of nsqx of one of go-nsq, for a service that moves handler by handler: pass
// it to [nsqx.NewConsumer] with codec.Bytes. What HandleMessage returns, and Finish, Requeue, Touch and
// DisableAutoResponse of the message, mean what they mean in go-nsq, with two differences: the delay of an
// error, and of Requeue(-1), is that of nsqx.WithRetry, and what becomes of a message after many attempts
// is what the options of the consumer say; LogFailedMessage is not called.
//
// A message that is answered before HandleMessage returns is answered at once, and its place among the
// concurrent handlers is free.
//
//	c, err := nsqx.NewConsumer("orders", "billing", codec.Bytes(), gonsq.Func(h), opts...)
func Func(h Handler) handler.Func[[]byte] {
	if h == nil {
		return nil
	}
	def := NewConfig()
	r := &runner{
		acquire: func(context.Context) (Handler, error) { return h, nil },
		release: func(Handler) {},
		failed:  func(_ *Message, err error) error { return err },
		delay:   func(m *Message) time.Duration { return requeueDelay(def, m) },
	}
	return handler.Async(r.handle)
}

// requeueDelay is what Requeue(-1) means.
func requeueDelay(cfg *Config, m *Message) time.Duration {
	return min(cfg.DefaultRequeueDelay*time.Duration(m.Attempts), cfg.MaxRequeueDelay)
}

var (
	errRequeued = errors.New("gonsq: requeued by the handler")
	errGoexit   = errors.New("gonsq: the handler called runtime.Goexit")
)

// runner calls handlers of go-nsq. The handler has a goroutine of its own, since it may answer long before
// it returns.
type runner struct {
	acquire func(context.Context) (Handler, error) // waits until a handler is free
	release func(Handler)
	failed  func(*Message, error) error // what an error without a delay is for nsqx
	delay   func(*Message) time.Duration
	log     func(m *Message, err error) // of an error that is no answer; nil for none

	received, finished, requeued atomic.Uint64
}

// handle is the function for handler.Async. It returns when the message is answered or its handler has
// returned.
func (r *runner) handle(ctx context.Context, body []byte, done func(error)) {
	h, err := r.acquire(ctx)
	if err != nil {
		done(err)
		return
	}
	r.received.Add(1)
	a := &answer{runner: r, of: handler.FromContext(ctx), done: done, progress: make(chan struct{}, 1)}
	m := newMessage(a.of, body, a)
	go r.call(h, m, a)
	<-a.progress
}

// call runs the handler.
func (r *runner) call(h Handler, m *Message, a *answer) {
	err := errGoexit
	defer func() {
		if v := recover(); v != nil {
			err = handler.NewPanicError(v)
		}
		a.returned(m, err)
		r.release(h)
		a.proceed()
	}()
	err = h.HandleMessage(m)
}

// newMessage makes the message that a handler of go-nsq gets. It owns body.
func newMessage(of *handler.Message, body []byte, d MessageDelegate) *Message {
	return &Message{
		ID: MessageID(of.ID), Body: body, Timestamp: of.Timestamp().UnixNano(), Attempts: of.Attempts,
		NSQDAddress: of.NSQD(), Delegate: d,
	}
}

// answer is the Delegate of a message. A Message calls OnFinish or OnRequeue once.
type answer struct {
	*runner
	of       *handler.Message
	done     func(error)
	cause    atomic.Pointer[error] // what the handler has returned
	progress chan struct{}         // gets an element when handle may return
}

// OnFinish implements MessageDelegate.
func (a *answer) OnFinish(*Message) {
	a.finished.Add(1)
	a.give(nil)
}

// OnRequeue implements MessageDelegate. A negative delay means a calculated one; nsqd would close the
// connection for one.
func (a *answer) OnRequeue(m *Message, delay time.Duration, backoff bool) {
	a.requeued.Add(1)
	cause := errRequeued
	if err := a.cause.Load(); err != nil {
		cause = *err
	}
	switch {
	case delay < 0 && backoff:
		a.give(a.failed(m, cause))
	case delay < 0:
		a.give(retry.After(a.delay(m), nil))
	case backoff:
		a.give(retry.After(delay, cause))
	default:
		a.give(retry.After(delay, nil))
	}
}

// OnTouch implements MessageDelegate. A message that can be touched no more is delivered again, so there
// is nothing to report.
func (a *answer) OnTouch(*Message) { _ = a.of.Touch() }

func (a *answer) give(err error) {
	a.done(err)
	a.proceed()
}

func (a *answer) proceed() {
	select {
	case a.progress <- struct{}{}:
	default:
	}
}

// returned is called when the handler has returned.
func (a *answer) returned(m *Message, err error) {
	_, panicked := errors.AsType[*handler.PanicError](err)
	switch died := panicked || err == errGoexit; {
	case m.IsAutoResponseDisabled() && !died:
		if err != nil && a.log != nil {
			a.log(m, err)
		}
	case err != nil:
		a.cause.Store(&err)
		m.Requeue(-1)
	default:
		m.Finish()
	}
}
