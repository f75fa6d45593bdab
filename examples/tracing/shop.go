package main

import (
	"context"
	"log"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// Order is the payload of the messages, in JSON.
type Order struct {
	ID    int      `json:"id"`
	Card  string   `json:"card"`
	Items []string `json:"items"`
}

// order returns the order with an id. Some orders have problems.
func order(id int) Order {
	o := Order{ID: id, Card: "domestic", Items: []string{"a book"}}
	switch {
	case id%100 == followed:
		o.Card = "blocked"
	case id%10 == 5:
		o.Card = "foreign"
	case id%100 == 21:
		o.Items = nil
	case id%100 == 40:
		o.Card = "slow"
	case id%100 == 41:
		o.Card = "late"
	case id%100 == 30:
		o.Items[0] = strings.Repeat("a very long book ", 100_000) // 1.7 MB, above nsqd's limit of 1 MiB
	case id%100 == 50:
		o.Items[0] = strings.Repeat("x", 1<<20-128) // fits, but with its id only, and not with its trace
	}
	return o
}

// bankError is the error of the bank.
type bankError struct{ kind, text string }

func (e bankError) Error() string { return e.text }

// ErrorType returns the error.type of spans and metrics.
func (e bankError) ErrorType() string { return e.kind }

// shop sells orders and charges them.
type shop struct {
	*log.Logger
	tracer    trace.Tracer
	tree      *tree
	orders    *nsqx.Producer[Order]
	billing   *nsqx.Consumer[Order]
	settled   chan struct{} // receives each outcome, including late ones
	again     chan struct{} // receives when the late order is delivered again
	unblocked atomic.Bool
}

func newShop(l *log.Logger, t *telemetry, tr *tree, opts nsqx.Option) (s *shop, err error) {
	s = &shop{Logger: l, tracer: t.tracer, tree: tr, settled: make(chan struct{}, 2*published), again: make(chan struct{}, 1)}
	s.billing, err = nsqx.NewConsumer(topic, channel, codec.JSON[Order](), s.charge, opts,
		nsqx.WithConcurrency(4),
		nsqx.WithMessageTimeout(timeout),
		nsqx.WithRetry(retry.Exponential(60*time.Millisecond, 200*time.Millisecond)),
		nsqx.WithMaxAttempts(3),
		nsqx.WithDeadLetter(deadTopic),
		nsqx.WithHooks(nsqx.Hooks{OnSettle: s.onSettle}),
	)
	if err != nil {
		return nil, err
	}
	// NSQ has no headers. An envelope around the payload carries the trace.
	s.orders, err = nsqx.NewProducer(topic, codec.JSON[Order](), opts, nsqx.WithEnvelope())
	return s, err
}

// sell publishes an order within a span of its own.
func (s *shop) sell(ctx context.Context, o Order) (err error) {
	ctx, span := s.tracer.Start(ctx, "checkout", trace.WithAttributes(attribute.Int("order.id", o.ID)))
	defer func() { end(span, err) }()
	if o.ID == followed {
		s.tree.follow(span.SpanContext())
	}
	return s.orders.Publish(ctx, o)
}

// charge handles an order. ctx has the span of the message, so spans of charge belong to the trace
// of the checkout.
func (s *shop) charge(ctx context.Context, o Order) (err error) {
	ctx, span := s.tracer.Start(ctx, "charge the card")
	defer func() { end(span, err) }()

	attempt := handler.FromContext(ctx).Attempts
	switch {
	case o.Card == "slow" && attempt == 1: // ignores its context
		time.Sleep(timeout * 3 / 2)
		return bankError{"bank_slow", "the bank has answered too late"}
	case o.Card == "late" && attempt == 1: // answers after nsqd has delivered the order again
		select {
		case <-s.again:
		case <-time.After(3 * timeout): // no redelivery, as during shutdown
		}
		return nil
	case o.Card == "late":
		select {
		case s.again <- struct{}{}:
		default:
		}
	case o.Card == "blocked" && !s.unblocked.Load():
		err = bankError{"card_blocked", "the card is blocked"}
	case o.Card == "foreign" && attempt == 1:
		err = bankError{"bank_down", "the bank does not answer"}
	case attempt == 1 && o.Items[0] == "": // a bug: it panics without items
		err = bankError{"no_item", "the item has no name"}
	}
	select {
	case <-time.After(time.Duration(2+o.ID%7) * time.Millisecond): // the bank's response time
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// onSettle is a hook, called with the outcome of each message.
func (s *shop) onSettle(m *handler.Message) {
	switch out := m.Outcome(); out.Disposition {
	case handler.DeadLetter:
		s.Printf("☠ a dead letter, after %d attempts: %v", m.Attempts, out.Err)
	case handler.Expired:
		s.Printf("⌛ failed, and too late: nsqd had delivered it again: %v", out.Err)
	case handler.Finish:
		if by, ok := m.Deadline(); ok && !time.Now().Before(by) {
			s.Printf("⌛ charged, but too late: nsqd had delivered it again, so it was charged twice")
		}
	default:
		return
	}
	s.settled <- struct{}{}
}
