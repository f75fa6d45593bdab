package nsqx

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/publish"
	"github.com/nsqx/nsqx/internal/wire"
)

// maxAsync is the number of PublishAsync of one producer that may be under way.
const maxAsync = 1024

// Producer publishes values of one type to one topic through a [Publisher]. All methods are safe
// for concurrent use.
//
// The error of a publish is exactly one of [ErrRejected], [ErrNotSent] and [ErrUnconfirmed]: see
// [PublishError].
type Producer[T any] struct {
	topic string
	codec codec.Codec[T]
	pub   *Publisher
	owned bool         // no other producer has pub
	send  handler.Send // the whole chain

	id, key  func(T) string // nil: none is given
	envelope bool           // headers are sent
	ttl      time.Duration  // 0: none

	buffers sync.Pool // of *[]byte: payloads
	ran     atomic.Bool
	closed  atomic.Bool
	async   publish.Tracker
	end     publish.Ending
	slots   chan struct{} // holds one element for each PublishAsync under way

	closeTimeout time.Duration
}

// NewProducer returns a producer for a topic; c encodes the values. Without [WithPublisher] it has
// a publisher of its own, which opts configure: see [NewPublisher]. The error joins all faults of
// the arguments, as in [NewConsumer]. A producer must be closed: see [Producer.Close].
func NewProducer[T any](topic string, c codec.Codec[T], opts ...ProducerOption) (*Producer[T], error) {
	cfg := newProducerConfig(opts)
	if err := wire.CheckTopic(topic); err != nil {
		cfg.fault("topic", "is faulty: "+err.Error())
	}
	if c == nil {
		cfg.fault("codec", "is nil; pass one, such as codec.JSON[T]()")
	} else {
		cfg.add(validate(c))
	}
	id, key := ofValues[T](cfg, "WithMessageID", cfg.identity.id), ofValues[T](cfg, "WithKey", cfg.identity.key)
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Producer[T]{
		topic: topic, codec: c, pub: cfg.publisher, id: id, key: key, ttl: cfg.ttl,
		slots: make(chan struct{}, maxAsync), closeTimeout: cfg.closeTimeout,
	}
	var err error
	if p.owned = p.pub == nil; !p.owned {
		p.send, err = p.pub.chain(topic, cfg.middleware, cfg.envelope)
	} else if p.pub, err = startPublisher(cfg); err == nil {
		if p.send, err = p.pub.chain(topic, nil, false); err != nil {
			p.pub.abandon()
		}
	}
	if err != nil {
		return nil, err
	}
	p.envelope = p.pub.p.Enveloped(cfg.envelope)
	return p, nil
}

// Publish publishes v, and returns nil when an nsqd has confirmed it.
func (p *Producer[T]) Publish(ctx context.Context, v T, opts ...PublishOption) error {
	return p.publish(withOptions(ctx, p.topic, 0, opts), v)
}

// PublishAt is Publish for a message that no handler gets before t, by the clock of the consumer's
// host. If t has passed it is Publish; the zero t, and one more than 100 years ahead, is an
// [ErrRejected].
//
// A producer with [WithEnvelope] sends t in a header. A consumer that gets the message early gives
// it back for the rest, each channel for itself. So the delay holds beyond nsqd's limit and where
// nsqd forgets it: in a topic without a channel, behind a full memory queue and over a restart. nsqd
// keeps deferred messages in memory: one that is killed loses them, one that is stopped keeps them.
// It looks at the deferred messages of a new channel only after up to 5 s.
//
// Without an envelope the delay is at most MaxDelay of [conn.Config], and only nsqd knows of it.
func (p *Producer[T]) PublishAt(ctx context.Context, t time.Time, v T, opts ...PublishOption) error {
	return p.publish(withOptions(ctx, p.topic, 0, append([]PublishOption{At(t)}, opts...)), v)
}

// PublishAfter is [Producer.PublishAt] for a delay from now, which nsqd rounds up to milliseconds. A
// negative delay is an [ErrRejected].
func (p *Producer[T]) PublishAfter(ctx context.Context, delay time.Duration, v T, opts ...PublishOption) error {
	return p.publish(withOptions(ctx, p.topic, delay, opts), v)
}

// outgoing is an Outgoing and its only message, in one allocation.
type outgoing struct {
	handler.Outgoing
	room [1]handler.OutgoingMessage
}

func (p *Producer[T]) publish(c publishConfig, v T) error {
	buf := p.buffer()
	defer p.buffers.Put(buf)
	body, err := p.encode((*buf)[:0], v)
	if err != nil {
		return p.pub.p.Router.Reject(1, c.topic, err)
	}
	*buf = body
	if p.closed.Load() {
		return c.notSent(publish.ErrClosed)
	}
	out, err := p.outgoing(c, v, body)
	if err != nil {
		return p.pub.p.Router.Reject(1, c.topic, err)
	}
	return p.pub.p.Through(c.ctx, p.send, out)
}

func (p *Producer[T]) outgoing(c publishConfig, v T, body []byte) (*handler.Outgoing, error) {
	out := new(outgoing)
	out.Topic, out.Messages = c.topic, out.room[:]
	out.room[0].Body = body
	if err := p.schedule(&out.Outgoing, c); err != nil {
		return nil, err
	}
	return &out.Outgoing, p.describe(&out.room[0].Headers, c.headers, v)
}

// PublishAll publishes values with as few MPUBs, in sequence, as nsqd's limits allow. The first n
// are confirmed. If err is an [ErrUnconfirmed], some of the others are unconfirmed; those of later
// commands were not sent. If a value cannot be encoded, none is sent.
func (p *Producer[T]) PublishAll(ctx context.Context, values []T, opts ...PublishOption) (n int, err error) {
	return p.publishAll(withOptions(ctx, p.topic, 0, opts), values)
}

// PublishAllAfter is PublishAll for messages that no handler gets before a delay has passed: see
// [Producer.PublishAfter]. An MPUB has no delay of nsqd's, so each channel gets the messages at once,
// and gives them back unhandled. More than one value requires [WithEnvelope].
func (p *Producer[T]) PublishAllAfter(ctx context.Context, delay time.Duration, values []T, opts ...PublishOption) (n int, err error) {
	return p.publishAll(withOptions(ctx, p.topic, delay, opts), values)
}

func (p *Producer[T]) publishAll(c publishConfig, values []T) (n int, err error) {
	if len(values) == 0 {
		return 0, nil
	}
	if p.closed.Load() {
		return 0, c.notSent(publish.ErrClosed)
	}
	buf := p.buffer()
	defer p.buffers.Put(buf)
	all := (*buf)[:0]
	out := &handler.Outgoing{Topic: c.topic, Messages: make([]handler.OutgoingMessage, len(values))}
	for i, v := range values {
		start := len(all)
		if all, err = p.encode(all, v); err != nil {
			return 0, p.pub.p.Router.Reject(len(values), c.topic, err)
		}
		out.Messages[i].Body = all[start:len(all):len(all)] // stays valid if all moves later
		if i == 0 {                                         // assume that the others are as large
			all = slices.Grow(all, min(len(all)*(len(values)-1), 4<<20))
		}
	}
	*buf = all
	err = cmp.Or(p.schedule(out, c), oneID(c.headers, len(values)))
	for i := 0; i < len(values) && err == nil; i++ {
		err = p.describe(&out.Messages[i].Headers, c.headers, values[i])
	}
	if err != nil {
		return 0, p.pub.p.Router.Reject(len(values), c.topic, err)
	}
	err = p.pub.p.Through(c.ctx, p.send, out)
	if err == nil {
		return len(values), nil
	}
	if e, ok := errors.AsType[*PublishError](err); ok {
		n = e.Confirmed
	}
	return n, err
}

// PublishAsync encodes v, returns, and calls done from another goroutine with the error that
// Publish would return. While 1024 calls are under way it waits, until ctx ends. It returns an
// error, and does not call done, if ctx ends first, the producer is closed, or v cannot be encoded.
// done may be nil. The order of messages is not defined.
func (p *Producer[T]) PublishAsync(ctx context.Context, v T, done func(error), opts ...PublishOption) error {
	return p.publishAsync(withOptions(ctx, p.topic, 0, opts), v, done)
}

func (p *Producer[T]) publishAsync(c publishConfig, v T, done func(error)) error {
	buf := p.buffer()
	body, err := p.encode((*buf)[:0], v)
	var out *handler.Outgoing
	if err == nil {
		*buf = body
		out, err = p.outgoing(c, v, body)
	}
	if err != nil {
		err = p.pub.p.Router.Reject(1, c.topic, err)
	} else {
		err = p.slot(c)
	}
	if err != nil {
		p.buffers.Put(buf)
		return err
	}
	// Counted in both trackers from now on, so Flush and Shutdown wait for it.
	mine, open := p.async.Begin()
	work, ok := 0, false
	if open {
		if work, ok = p.pub.p.Work.Begin(); !ok {
			p.async.End(mine)
		}
	}
	if !ok {
		<-p.slots
		p.buffers.Put(buf)
		return c.notSent(publish.ErrClosed)
	}
	go func() {
		defer func() {
			<-p.slots
			p.async.End(mine)
		}()
		var err error
		returned := false
		defer func() {
			if !returned { // middleware has called runtime.Goexit
				err = publish.Broken(c.topic, guard.ErrGoexit)
			}
			p.pub.p.Work.End(work)
			p.buffers.Put(buf)
			if done != nil {
				p.pub.p.Call(func() { done(err) })
			}
		}()
		err = p.send(c.ctx, out)
		returned = true
	}()
	return nil
}

// slot waits until one more PublishAsync may be under way.
func (p *Producer[T]) slot(c publishConfig) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-c.ctx.Done():
		return c.notSent(publish.Ended(c.ctx))
	}
}

// Flush waits until every earlier PublishAsync of this producer has ended, done included. It
// returns ctx.Err() if ctx ends first.
func (p *Producer[T]) Flush(ctx context.Context) error { return p.async.Flush(guard.Context(ctx)) }

// Ping is [Publisher.Ping].
func (p *Producer[T]) Ping(ctx context.Context) error { return p.pub.Ping(ctx) }

// Close is [Producer.Shutdown] with the timeout of [WithCloseTimeout]. It implements [io.Closer].
func (p *Producer[T]) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.closeTimeout)
	defer cancel()
	return p.Shutdown(ctx)
}

// Shutdown closes the producer: further publishes fail with [ErrNotSent]. It waits until ctx ends
// for every PublishAsync, done included. A publisher of its own is shut down as well, a shared one
// is not: see [Publisher.Shutdown].
//
// A second Close or Shutdown waits for the first and returns the same, or its ctx.Err() if its ctx
// ends first.
func (p *Producer[T]) Shutdown(ctx context.Context) error {
	ctx = guard.Context(ctx)
	return p.end.Do(ctx, func() error { return p.shutdown(ctx) })
}

func (p *Producer[T]) shutdown(ctx context.Context) error {
	p.closed.Store(true)
	p.async.Close()
	err := p.async.Flush(ctx)
	if !p.owned {
		return err
	}
	err = p.pub.Shutdown(ctx)
	left, cancel := context.WithTimeout(context.WithoutCancel(ctx), publish.CloseGrace)
	defer cancel()
	return cmp.Or(err, p.async.Flush(left)) // until done has returned
}

// Run makes a producer a [Service]: it waits for the end of ctx and is then [Producer.Close]. [Run]
// ends producers after consumers and servers. A second Run returns [ErrAlreadyRun].
func (p *Producer[T]) Run(ctx context.Context) error {
	return runUntil(ctx, &p.ran, p.closeTimeout, p.Shutdown)
}

func (p *Producer[T]) name() string { return "producer " + p.topic }
func (p *Producer[T]) phase() int   { return 1 }

// Stats returns the counters and connections of the producer's publisher.
func (p *Producer[T]) Stats() PublisherStats { return p.pub.Stats() }

// Healthy is [Publisher.Healthy].
func (p *Producer[T]) Healthy() error { return p.pub.Healthy() }

// keptBuffer is the size of the largest payload buffer that is kept for reuse, in bytes.
const keptBuffer = 256 << 10

func (p *Producer[T]) buffer() *[]byte {
	if b, ok := p.buffers.Get().(*[]byte); ok && cap(*b) <= keptBuffer {
		return b
	}
	return new([]byte)
}

// encode appends v to dst.
func (p *Producer[T]) encode(dst []byte, v T) ([]byte, error) {
	return publish.Encode(dst, func(dst []byte) ([]byte, error) { return p.codec.Append(dst, v) })
}
