package handler

import (
	"context"
	"time"
)

// asyncGrace is how long an asynchronous answer may come after the end of its context.
const asyncGrace = 900 * time.Millisecond // within the second that a shutdown leaves

// Async makes a handler of a function that answers later. fn starts the work and returns; done,
// called from any goroutine, is the answer. Retries, dead letters and telemetry go by it.
//
// When fn has returned, its place among the consumer's concurrent handlers is free: concurrency
// limits the calls of fn that run, and MaxInFlight the messages that are not answered. With
// concurrency 1, fn is called in the order in which the messages of each nsqd arrive.
//
// A message that is not answered in time, or whose connection is lost, fails with the cause of its
// ctx, and its place is free. So does one in a shutdown. done may be called until 0.9 s after the end
// of ctx. Later calls, and calls after the first, have no effect. A panic of fn is the answer, whether
// or not done was called.
//
// The equivalent in go-nsq is DisableAutoResponse with Finish and Requeue.
func Async[T any](fn func(ctx context.Context, v T, done func(error))) Func[T] {
	return func(ctx context.Context, v T) error {
		answer := make(chan error, 1)
		fn(ctx, v, func(err error) {
			select {
			case answer <- err:
			default: // answered already
			}
		})
		select {
		case err := <-answer:
			return err
		default:
			FromContext(ctx).delivery().origin().park()
		}
		select {
		case err := <-answer:
			return err
		case <-ctx.Done():
		}
		return lastAnswer(ctx, answer)
	}
}

// lastAnswer waits for an answer after the end of ctx.
func lastAnswer(ctx context.Context, answer <-chan error) error {
	cause := context.Cause(ctx)
	if cause == ErrConnLost { // an answer would change nothing
		return cause
	}
	timer := time.NewTimer(asyncGrace)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return cause
	}
}

// park gives the place of the handler to another message.
func (d *Delivery) park() {
	if d.read != nil && d.read.Park != nil {
		d.read.Park(d)
	}
}
