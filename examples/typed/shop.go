package main

import (
	"context"
	"log"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/examples/typed/contract"
)

// shop is a service that publishes orders and consumes receipts.
type shop struct {
	*log.Logger
	orders   *nsqx.Producer[contract.Order]
	receipts *nsqx.Consumer[contract.Receipt]
	settled  chan<- int
}

func newShop(l *log.Logger, settled chan<- int, opts ...nsqx.Option) (s *shop, err error) {
	s = &shop{Logger: l, settled: settled}
	both := nsqx.WithOptions(opts...)
	if s.receipts, err = contract.Receipts().Consumer("shop", s.paid, both); err != nil {
		return nil, err
	}
	s.orders, err = contract.Orders().Producer(both)
	return s, err
}

// sell publishes an order. When Publish returns nil, nsqd has the order.
func (s *shop) sell(ctx context.Context, release string, o contract.Order) error {
	s.Printf("shop %s     order %d  sold for %s", release, o.ID, money(o.Cents, o.Currency))
	return s.orders.Publish(ctx, o)
}

// paid handles a receipt.
func (s *shop) paid(_ context.Context, r contract.Receipt) error {
	s.Printf("shop         order %d  ✓ paid, receipt %s", r.Order, r.Number)
	s.settled <- r.Order
	return nil
}
