package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// LogBatch is [Log] for handlers of batches. It writes one record for each batch, by the result of the
// handler, and a record of Log for each item that has an answer of its own. An item that does not
// decode is one of them.
//
// The attributes of a batch are topic, channel, messages (how many it has), answered (how many of them have an
// answer of their own), duration_seconds, and delay_seconds or error.
func LogBatch(logger *slog.Logger, opts ...LogOption) handler.BatchMiddleware {
	return newLog(logger, opts).batchMiddleware
}

func (l *log) batchMiddleware(next handler.RawBatch) handler.RawBatch {
	next = RecoverBatch()(next)
	return func(ctx context.Context, msgs []*handler.Message) error {
		if !l.wantsAny(ctx) {
			return next(ctx, msgs)
		}
		start := time.Now()
		err := next(ctx, msgs)
		answered := 0
		for _, m := range msgs {
			if own := (*handler.Delivery)(m).Answer(); own != nil {
				answered++
				l.record(ctx, m, start, own)
			}
		}
		l.recordBatch(ctx, msgs, answered, start, err)
		return err
	}
}

// recordBatch is record for a batch.
func (l *log) recordBatch(ctx context.Context, msgs []*handler.Message, answered int, start time.Time, err error) {
	defer func() { _ = recover() }()
	level, end := l.levelOf(err)
	if !l.logger.Enabled(ctx, level) {
		return
	}
	l.logger.LogAttrs(ctx, level, textOf("batch", end), withAnswer([]slog.Attr{
		slog.String("topic", msgs[0].Topic()),
		slog.String("channel", msgs[0].Channel()),
		slog.Int("messages", len(msgs)),
		slog.Int("answered", answered),
		slog.Float64("duration_seconds", time.Since(start).Seconds()),
	}, err)...)
}
