package handler

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
)

// BatchFunc handles several messages together. nil is the answer for every item that has none of
// its own, and finishes it. An error is the answer for every item that has none of its own, as if a
// [Func] had returned it for each. [Batch.Fail] gives an item its own.
//
// ctx ends with the earliest message timeout of the items, with the cause [ErrMessageTimeout]; when
// all their connections are lost, with [ErrConnLost]; and in a shutdown, with [ErrShutdown].
type BatchFunc[T any] func(ctx context.Context, b *Batch[T]) error

// Batch is what a [BatchFunc] handles: at least one item, oldest first. A Batch may be read
// concurrently. After the handler has returned, its values stay valid and Fail has no effect.
type Batch[T any] struct {
	messages []*Message
	values   []T

	mu    sync.Mutex
	ended bool
}

// Item is a message of a [Batch] and its decoded payload.
type Item[T any] struct {
	Message *Message // its Body is valid until the message is settled
	Value   T
}

// Len returns the number of items.
func (b *Batch[T]) Len() int { return len(b.values) }

// Values returns the payloads of all items. The slice belongs to the caller.
func (b *Batch[T]) Values() []T { return b.values }

// Item returns item i. It panics if i is out of range.
func (b *Batch[T]) Item(i int) Item[T] { return Item[T]{b.messages[i], b.values[i]} }

// All iterates over the items, oldest first.
func (b *Batch[T]) All() iter.Seq2[int, Item[T]] {
	return func(yield func(int, Item[T]) bool) {
		for i := range b.values {
			if !yield(i, b.Item(i)) {
				return
			}
		}
	}
}

// Fail makes err the answer for item i, whatever the handler returns: see package retry for what an
// error can ask for. The last call counts. It may be called concurrently.
//
// Fail panics if i is out of range. A nil err is a mistake: the item fails, and Fail returns
// [ErrNilFailure]. After the handler has returned Fail changes nothing and returns [ErrSettled].
func (b *Batch[T]) Fail(i int, err error) error {
	m := b.messages[i]
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return ErrSettled
	}
	if err == nil {
		m.delivery().SetAnswer(ErrNilFailure)
		return ErrNilFailure
	}
	m.delivery().SetAnswer(err)
	return nil
}

// ErrNilFailure is the error of an item for which [Batch.Fail] was called without an error.
var ErrNilFailure = errors.New("nsqx: Batch.Fail was called with a nil error")

// end makes Fail return ErrSettled.
func (b *Batch[T]) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
}

// TypedBatch makes a [RawBatch] of a typed handler. It is the innermost step of the chain of a
// consumer of batches.
//
// A message that does not decode (see [Typed]), or whose decoder calls runtime.Goexit, is not in the
// batch; its own answer is a [*DecodeError]. If no message decodes, fn is not called.
func TypedBatch[T any](dec Decoder[T], fn BatchFunc[T]) RawBatch {
	return func(ctx context.Context, msgs []*Message) error {
		b := &Batch[T]{messages: make([]*Message, 0, len(msgs)), values: make([]T, 0, len(msgs))}
		decoded := make(chan error)
		go b.decode(dec, msgs, decoded)
		if err := <-decoded; err != nil || b.Len() == 0 {
			return err
		}
		defer b.end()
		return fn(ctx, b)
	}
}

// errDecodeExits is why a message does not decode whose decoder ends its goroutine.
var errDecodeExits = errors.New("nsqx: Decode called runtime.Goexit")

// decode adds the messages that decode. It has a goroutine of its own, which the decoder may end: then
// another one goes on with the rest.
func (b *Batch[T]) decode(dec Decoder[T], msgs []*Message, done chan<- error) {
	defer func() {
		switch p := recover(); {
		case p != nil: // middleware has passed on what is no message
			done <- NewPanicError(p)
		case len(msgs) > 0:
			msgs[0].delivery().SetAnswer(&DecodeError{Err: errDecodeExits})
			go b.decode(dec, msgs[1:], done)
		default:
			done <- nil
		}
	}()
	for ; len(msgs) > 0; msgs = msgs[1:] {
		m := msgs[0]
		v, err := decodeMessage(dec, m)
		if err != nil {
			m.delivery().SetAnswer(err)
			continue
		}
		b.messages, b.values = append(b.messages, m), append(b.values, v)
	}
}

// SetAnswer makes err, which is not nil, the answer for one message of a batch.
func (d *Delivery) SetAnswer(err error) { d.origin().Message().ensureExtra().answer = err }

// Answer returns the error of SetAnswer; nil if the message has no answer of its own.
func (d *Delivery) Answer() error {
	if x := d.origin().extra.Load(); x != nil {
		return x.answer
	}
	return nil
}

// String identifies the batch. It prints no values.
func (b *Batch[T]) String() string {
	if b.Len() == 0 {
		return "empty batch"
	}
	return fmt.Sprintf("batch of %d, first %v", b.Len(), b.messages[0])
}

// GoString returns the same as String.
func (b *Batch[T]) GoString() string { return b.String() }
