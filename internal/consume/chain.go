package consume

import (
	"context"
	"log/slog"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/publish"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// build makes the chain of single messages.
func (c *Consumer) build(raw handler.Raw) {
	var observing handler.Middleware
	if t := c.cfg.Telemetry; t != nil {
		observing = t.Consumer(c.info())
	}
	c.chain = layer(handler.Chain, middleware.Recover(), observing, c.settle, c.cfg.Middleware, c.readable)(raw)
}

// layer puts the layers of a chain together, once: recovery → telemetry → settle → recovery → the user's
// middleware → recovery → what makes a message readable.
func layer[F any, M ~func(F) F](chain func(...M) M, recovery, observing, settle M, users []M, readable M) M {
	inner := chain(users...)
	if len(users) > 0 {
		inner = chain(recovery, inner) // a panic of the user's middleware is a failure like any other
	}
	if observing != nil {
		observing = chain(recovery, observing) // settle needs none: it does not panic
	}
	return chain(
		observing,
		settle,
		inner,
		recovery, // middleware sees an error, not a panic
		readable,
	)
}

// buildDead makes the chain of dead letters.
func (c *Consumer) buildDead() {
	var observing handler.SendMiddleware
	if t := c.cfg.Telemetry; t != nil {
		if topic, ok := c.cfg.GiveUp.(DeadLetterTopic); ok {
			info := observe.ProducerInfo{Topic: topic.Topic}
			if c.cfg.Conn.ClientID != "" {
				info.ClientID = deadLetterConn(c.cfg.Conn).ClientID
			}
			observing = t.Producer(info)
		}
	}
	c.sendDead = handler.ChainSend(publish.Confirming(c.logLate), observing, publish.NoteConfirmed)(c.dead.Transmit)
}

// info is what telemetry gets to know.
func (c *Consumer) info() observe.ConsumerInfo {
	return observe.ConsumerInfo{
		Topic: c.cfg.Sub.Topic, Channel: c.cfg.Sub.Channel, ClientID: c.cfg.Conn.ClientID,
		Concurrency: c.cfg.Concurrency, MaxAttempts: c.cfg.MaxAttempts,
	}
}

// Process runs a message through the chain under ctx, and returns the outcome.
func (c *Consumer) Process(ctx context.Context, m *handler.Message) handler.Outcome {
	if c.batch != nil {
		c.ProcessBatch(ctx, []*handler.Message{m})
		return m.Outcome()
	}
	if c.postpone(m) {
		return m.Outcome()
	}
	return c.handle(ctx, m)
}

// handle is Process for a message whose time has come.
func (c *Consumer) handle(ctx context.Context, m *handler.Message) handler.Outcome {
	err := c.chain(ctx, m)
	out := m.Outcome()
	if out.Disposition == handler.Pending {
		return c.rescueUnder(ctx, (*handler.Delivery)(m), err)
	}
	// To walk an error of the user's is user code, so only what the outermost Recover made is
	// looked at.
	if p, ok := err.(*handler.PanicError); ok && out.Err != err {
		c.reportPanic(ctx, m, p) // of the telemetry, after the decision
	}
	c.events.Settled(m)
	return out
}

// process is handle for a worker.
func (c *Consumer) process(d *handler.Delivery) handler.Outcome {
	return c.handle(d.Context(), d.Message())
}

// rescue settles a message whose chain, or an earlier rescue, was ended by runtime.Goexit. A decision
// that was made stays.
func (c *Consumer) rescue(d *handler.Delivery, err error) handler.Outcome {
	return c.rescueUnder(d.Context(), d, err)
}

func (c *Consumer) rescueUnder(ctx context.Context, d *handler.Delivery, err error) handler.Outcome {
	out := d.Outcome()
	if out.Disposition == handler.Pending {
		out = c.settleFallback(d, err)
		d.SetOutcome(out)
		c.report(ctx, d, out, retry.Verdict{}, true)
		c.events.Settled(d.Message())
	}
	return out
}

// logLate logs what telemetry did after a dead letter was confirmed.
func (c *Consumer) logLate(ctx context.Context, err error) {
	c.events.FailNow(ctx, "telemetry has failed after a dead letter was confirmed", slog.LevelError, nil, []slog.Attr{slog.String("error", reason(err))})
}
