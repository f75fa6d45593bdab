package consume

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/pool"
	"github.com/nsqx/nsqx/middleware"
)

// maxDecisions is how many failed messages of a batch are settled at once. Each may wait for a dead
// letter to be confirmed.
const maxDecisions = 64

// NewBatch is New for a handler of batches; cfg.Batch is set.
func NewBatch(cfg Config, raw handler.RawBatch) *Consumer {
	c := assemble(cfg)
	c.buildBatch(raw)
	return c
}

// buildBatch is build for batches.
func (c *Consumer) buildBatch(raw handler.RawBatch) {
	var observing handler.BatchMiddleware
	if t := c.cfg.Telemetry; t != nil {
		observing = t.Batch(c.info())
	}
	c.batch = layer(handler.ChainBatch, middleware.RecoverBatch(), observing, c.settleBatch, c.cfg.Batch.Middleware, c.readableBatch)(raw)
}

// ProcessBatch runs messages through the chain together, under ctx, and sets the outcome of each.
func (c *Consumer) ProcessBatch(ctx context.Context, msgs []*handler.Message) {
	if c.batch == nil {
		for _, m := range msgs {
			c.Process(m.Context(), m)
		}
		return
	}
	if msgs = without(msgs, scheduled, c.postpone); len(msgs) == 0 {
		return
	}
	err := c.batch(ctx, msgs)
	logged := false
	for _, m := range msgs {
		if m.Outcome().Disposition == handler.Pending {
			c.rescueUnder(m.Context(), (*handler.Delivery)(m), answer(m, err))
			continue
		}
		if p, ok := err.(*handler.PanicError); ok && !logged && m.Outcome().Err != err {
			c.reportPanic(ctx, m, p) // of the telemetry, after the decision
			logged = true
		}
		c.events.Settled(m)
	}
}

// processBatch is ProcessBatch for a worker.
func (c *Consumer) processBatch(msgs []*handler.Message) {
	ctx := newBatchContext(msgs, !c.cfg.Batch.NoTouch)
	defer c.running.add(ctx)()
	c.ProcessBatch(ctx, msgs)
}

// rescueBatch settles the messages of a chain that was ended by runtime.Goexit.
func (c *Consumer) rescueBatch(msgs []*handler.Message, err error) {
	var own []*handler.Message
	for _, m := range msgs {
		if (*handler.Delivery)(m).Answer() != nil && m.Outcome().Disposition == handler.Pending {
			own = append(own, m)
		}
	}
	c.concludeEach(own, nil)
	for _, m := range own {
		if m.Outcome().Disposition != handler.Pending {
			c.events.Settled(m)
		}
	}
	for _, m := range msgs {
		c.rescueUnder(m.Context(), (*handler.Delivery)(m), err)
	}
}

// settleBatch is settle for batches. The outcome of each message is that of settle for its answer.
func (c *Consumer) settleBatch(next handler.RawBatch) handler.RawBatch {
	limits := c.limits()
	suspect := func(m *handler.Message) bool { return limits || !(*handler.Delivery)(m).Ordinary() }
	return func(ctx context.Context, msgs []*handler.Message) error {
		msgs = without(msgs, suspect, func(m *handler.Message) bool {
			done, _ := c.settleUnhandled(m.Context(), (*handler.Delivery)(m))
			return done
		})
		if len(msgs) == 0 {
			return nil
		}
		err := next(ctx, msgs)
		var failed []*handler.Message
		for _, m := range msgs {
			if d := (*handler.Delivery)(m); answer(m, err) == nil && !pool.Lost(d) {
				d.SetOutcome(handler.Outcome{Disposition: handler.Finish})
			} else {
				failed = append(failed, m)
			}
		}
		c.concludeEach(failed, err)
		return err
	}
}

// readableBatch is readable for batches.
func (c *Consumer) readableBatch(next handler.RawBatch) handler.RawBatch {
	if c.cfg.AnyTime {
		return next
	}
	return func(ctx context.Context, msgs []*handler.Message) error {
		msgs = without(msgs, scheduled, func(m *handler.Message) bool {
			err := unreadable(m)
			if err != nil {
				(*handler.Delivery)(m).SetAnswer(err)
			}
			return err != nil
		})
		if len(msgs) == 0 {
			return nil
		}
		return next(ctx, msgs)
	}
}

func scheduled(m *handler.Message) bool { return (*handler.Delivery)(m).Scheduled() }

// without returns the messages but those for which drop, which is called for suspect ones only,
// returns true.
func without(msgs []*handler.Message, suspect, drop func(*handler.Message) bool) []*handler.Message {
	if !slices.ContainsFunc(msgs, suspect) { // nearly always
		return msgs
	}
	return slices.DeleteFunc(slices.Clone(msgs), func(m *handler.Message) bool { return suspect(m) && drop(m) })
}

// answer is what the handler of a batch says of one message; err is its result.
func answer(m *handler.Message, err error) error {
	if own := (*handler.Delivery)(m).Answer(); own != nil {
		return own
	}
	return err
}

// concludeEach concludes messages, some of them at a time. Each has a goroutine of its own, which user
// code may end: that message stays without an outcome.
func (c *Consumer) concludeEach(msgs []*handler.Message, err error) {
	var all errgroup.Group
	all.SetLimit(maxDecisions)
	for _, m := range msgs {
		all.Go(func() error {
			c.conclude(m.Context(), (*handler.Delivery)(m), answer(m, err))
			return nil
		})
	}
	_ = all.Wait() // of nothing
}
