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
	"github.com/nsqx/nsqx/internal/wire"
)

// maxAsync is how many PublishAsync of one producer may be unanswered.
const maxAsync = 1024

// Producer publishes values of one type to one topic: the typed face of a
// [Publisher]. All methods are safe for concurrent use.
//
// Errors of a publish are exactly one of [ErrRejected], [ErrNotSent] and
// [ErrUnconfirmed]; see [PublishError].
type Producer[T any] struct {
	topic string
	codec codec.Codec[T]
	pub   *Publisher
	owned bool         // pub is this producer's alone
	send  handler.Send // the whole chain

	buffers sync.Pool // of *[]byte: payloads
	closed  atomic.Bool
	async   tracker
	slots   chan struct{} // one for each PublishAsync under way
}

// NewProducer makes a producer for a topic, whose values are encoded by c. Without
// [WithPublisher] it has a publisher of its own, made of the options: see
// [NewPublisher]. All that is wrong with the arguments is reported together, as by
// [NewConsumer]. A producer must be closed: see [Producer.Close].
func NewProducer[T any](topic string, c codec.Codec[T], opts ...ProducerOption) (*Producer[T], error) {
	cfg := newProducerConfig(opts)
	if err := wire.CheckTopic(topic); err != nil {
		cfg.fault("topic", "is faulty: "+err.Error())
	}
	if c == nil {
		cfg.fault("codec", "is nil; pass one, such as codec.JSON[T]()")
	} else if v, ok := c.(interface{ Validate() error }); ok {
		cfg.add(v.Validate())
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Producer[T]{topic: topic, codec: c, pub: cfg.publisher, slots: make(chan struct{}, maxAsync)}
	if p.pub == nil {
		p.pub, p.owned = startPublisher(cfg), true
		p.send = p.pub.chain(topic, nil, false)
	} else {
		p.send = p.pub.chain(topic, cfg.middleware, cfg.envelope)
	}
	return p, nil
}

// Publish publishes v and returns nil when an nsqd has confirmed it.
func (p *Producer[T]) Publish(ctx context.Context, v T) error { return p.publish(ctx, 0, v) }

// PublishAfter publishes v so that nsqd delivers it after a delay, which is rounded
// up to milliseconds. nsqd keeps such messages in memory. It refuses delays above its
// --max-req-timeout: see MaxDelay of [conn.Config].
func (p *Producer[T]) PublishAfter(ctx context.Context, delay time.Duration, v T) error {
	return p.publish(ctx, delay, v)
}

// outgoing is an Outgoing with room for one message, so that both are one allocation.
type outgoing struct {
	handler.Outgoing
	room [1]handler.OutgoingMessage
}

func (p *Producer[T]) publish(ctx context.Context, delay time.Duration, v T) error {
	buf := p.buffer()
	defer p.buffers.Put(buf)
	body, err := p.encode((*buf)[:0], v)
	if err != nil {
		return p.pub.core.refused(1, p.topic, err)
	}
	*buf = body
	return p.sendOne(ctx, delay, body)
}

func (p *Producer[T]) sendOne(ctx context.Context, delay time.Duration, body []byte) error {
	if p.closed.Load() {
		return p.notSent(errPublisherClosed)
	}
	return p.pub.through(ctx, p.send, p.outgoing(delay, body))
}

func (p *Producer[T]) outgoing(delay time.Duration, body []byte) *handler.Outgoing {
	out := new(outgoing)
	out.Topic, out.Delay, out.Messages = p.topic, delay, out.room[:]
	out.room[0].Body = body
	return &out.Outgoing
}

// PublishAll publishes values in as few commands as nsqd's limits allow (MPUB), one
// after the other. n is how many are confirmed: the first ones. If err is
// [ErrUnconfirmed], that is so for some of the others; those that were to come in
// later commands have not been sent.
//
// All are encoded before the first is sent: if one cannot be, none is sent.
func (p *Producer[T]) PublishAll(ctx context.Context, values []T) (n int, err error) {
	if len(values) == 0 {
		return 0, nil
	}
	if p.closed.Load() {
		return 0, p.notSent(errPublisherClosed)
	}
	var all []byte
	ends := make([]int, len(values))
	for i, v := range values {
		if all, err = p.encode(all, v); err != nil {
			return 0, p.pub.core.refused(len(values), p.topic, err)
		}
		if ends[i] = len(all); i == 0 { // the others may be as large
			all = slices.Grow(all, min(len(all)*(len(values)-1), 4<<20))
		}
	}
	msgs, start := make([]handler.OutgoingMessage, len(values)), 0
	for i, end := range ends {
		msgs[i].Body, start = all[start:end:end], end
	}
	err = p.pub.through(ctx, p.send, &handler.Outgoing{Topic: p.topic, Messages: msgs})
	if err == nil {
		return len(values), nil
	}
	if e, ok := errors.AsType[*PublishError](err); ok {
		n = e.Confirmed
	}
	return n, err
}

// PublishAsync publishes v and calls done, from a goroutine of its own, with what
// Publish would have returned. v is encoded before PublishAsync returns. It waits
// while 1024 of them are under way, until ctx ends; the error is returned then, as that
// of a closed producer or a value that cannot be encoded, and done is not called.
// done may be nil. What is published asynchronously arrives in no certain order.
func (p *Producer[T]) PublishAsync(ctx context.Context, v T, done func(error)) error {
	buf := p.buffer()
	body, err := p.encode((*buf)[:0], v)
	if err != nil {
		err = p.pub.core.refused(1, p.topic, err)
	} else {
		*buf = body
		err = p.slot(ctx)
	}
	if err != nil {
		p.buffers.Put(buf)
		return err
	}
	// From now on it is under way, so whoever closes, or flushes, waits for it.
	mine, open := p.async.begin()
	work, ok := 0, false
	if open {
		if work, ok = p.pub.work.begin(); !ok {
			p.async.end(mine)
		}
	}
	if !ok {
		<-p.slots
		p.buffers.Put(buf)
		return p.notSent(errPublisherClosed)
	}
	go func() {
		defer func() {
			<-p.slots
			p.async.end(mine)
		}()
		err := p.send(ctx, p.outgoing(0, body))
		p.pub.work.end(work)
		p.buffers.Put(buf)
		if done != nil {
			call(p.pub.events, []func(error){done}, err)
		}
	}()
	return nil
}

func (p *Producer[T]) slot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return p.notSent(ended(ctx))
	}
}

// Flush waits until nothing is under way that this producer has published
// asynchronously before, done called, or until ctx ends; it returns ctx.Err() then.
func (p *Producer[T]) Flush(ctx context.Context) error { return p.async.flush(ctx) }

// Ping is [Publisher.Ping].
func (p *Producer[T]) Ping(ctx context.Context) error { return p.pub.Ping(ctx) }

// Close ends the producer: nothing more can be published, and what is published
// asynchronously is waited for, done called, until ctx ends. A publisher of its own is
// closed, too, with all that is under way; one that is shared is not. See [Publisher.Close].
func (p *Producer[T]) Close(ctx context.Context) error {
	p.closed.Store(true)
	p.async.close()
	err := p.async.flush(ctx)
	if !p.owned {
		return err
	}
	err = p.pub.Close(ctx)
	left, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	return cmp.Or(err, p.async.flush(left)) // done is called
}

// Stats returns the counters and connections of the producer's publisher.
func (p *Producer[T]) Stats() PublisherStats { return p.pub.Stats() }

// Healthy is [Publisher.Healthy].
func (p *Producer[T]) Healthy() error { return p.pub.Healthy() }

// keptBuffer is the size of the largest payload whose memory is used again.
const keptBuffer = 64 << 10

func (p *Producer[T]) buffer() *[]byte {
	if b, ok := p.buffers.Get().(*[]byte); ok && cap(*b) <= keptBuffer {
		return b
	}
	return new([]byte)
}

var errNotAppended = errors.New("nsqx: the codec did not append to the slice that it was given")

// encode appends v to dst. A codec that panics has an error like any other.
func (p *Producer[T]) encode(dst []byte, v T) (body []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			body, err = dst, handler.NewPanicError(r)
		}
	}()
	body, err = p.codec.Append(dst, v)
	if err == nil && len(body) < len(dst) {
		err = errNotAppended
	}
	return body, err
}

func (p *Producer[T]) notSent(why error) error {
	return &PublishError{Kind: ErrNotSent, Topic: p.topic, Err: why}
}
