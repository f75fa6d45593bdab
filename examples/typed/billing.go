package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/examples/typed/contract"
	"github.com/nsqx/nsqx/handler"
)

// billing is a service that consumes orders and publishes receipts.
type billing struct {
	*log.Logger
	release  string
	orders   *nsqx.Consumer[contract.Order]
	receipts *nsqx.Producer[contract.Receipt]
	settled  chan<- int
}

func newBilling(l *log.Logger, release string, orders contract.Topic[contract.Order], settled chan<- int, opts ...nsqx.Option) (b *billing, err error) {
	b = &billing{Logger: l, release: release, settled: settled}
	both := nsqx.WithOptions(opts...)
	b.orders, err = orders.Consumer("billing", b.charge, both,
		nsqx.WithConcurrency(2),
		nsqx.WithDeadLetter(contract.DeadOrders), // also for orders that do not decode
		nsqx.WithHooks(b),
	)
	if err != nil {
		return nil, err
	}
	b.receipts, err = contract.Receipts().Producer(both)
	return b, err
}

// charge handles an order. If nsqd does not confirm the receipt, the order is charged again later.
// The number of a receipt depends only on its order, so a second receipt equals the first.
func (b *billing) charge(ctx context.Context, o contract.Order) error {
	b.Printf("billing %s  order %d  charged %s", b.release, o.ID, money(o.Cents, o.In()))
	return b.receipts.Publish(ctx, contract.Receipt{Order: o.ID, Number: fmt.Sprintf("R-%04d", o.ID)})
}

// OnSettle is a hook, called with the outcome of each message.
func (b *billing) OnSettle(m *handler.Message) {
	if out := m.Outcome(); out.Disposition == handler.DeadLetter {
		b.Printf("billing %s  ☠ dead letter %s", b.release, m.Body)
		b.Printf("             %s", reason(out.Err))
		b.settled <- 0
	}
}

// reason returns the cause of a codec error, or the whole text of another error.
func reason(err error) string {
	if e, ok := errors.AsType[*codec.Error](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// money formats an amount, without a currency if currency is "".
func money(cents int64, currency string) string {
	text := fmt.Sprintf("%d.%02d", cents/100, cents%100)
	if currency != "" {
		text += " " + currency
	}
	return text
}
