// Package contract defines the topics of the shop and billing, and the types of their payloads. It
// is all that the two services share. A program that publishes or consumes a receipt as an order
// does not compile.
package contract

import (
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
)

// Topic is the name of a topic and the codec of its payloads.
type Topic[T any] struct {
	Name  string
	Codec codec.Codec[T]
}

// Producer returns a producer for the topic.
func (t Topic[T]) Producer(opts ...nsqx.ProducerOption) (*nsqx.Producer[T], error) {
	return nsqx.NewProducer(t.Name, t.Codec, opts...)
}

// Consumer returns a consumer of a channel of the topic.
func (t Topic[T]) Consumer(channel string, fn handler.Func[T], opts ...nsqx.ConsumerOption) (*nsqx.Consumer[T], error) {
	return nsqx.NewConsumer(t.Name, channel, t.Codec, fn, opts...)
}

// Order is a purchase of a customer.
type Order struct {
	ID    int   `json:"id"`
	Cents int64 `json:"cents"`

	// Currency is new in 1.1, and optional, so the services can be deployed in any order: billing
	// 1.0 ignores it, and billing 1.1 treats "" as EUR, the currency of all earlier orders.
	Currency string `json:"currency,omitzero"`
}

// In returns the currency of the order.
func (o Order) In() string {
	if o.Currency == "" {
		return "EUR"
	}
	return o.Currency
}

// Receipt confirms that an order is paid.
type Receipt struct {
	Order  int    `json:"order"`
	Number string `json:"number"`
}

// Topics.
const (
	orders     = "orders"
	receipts   = "receipts"
	DeadOrders = "orders.dead" // orders that billing has given up
)

// Orders go from the shop to billing.
func Orders() Topic[Order] { return Topic[Order]{orders, codec.JSON[Order]()} }

// Receipts go from billing to any service.
func Receipts() Topic[Receipt] { return Topic[Receipt]{receipts, codec.JSON[Receipt]()} }

// TolerantOrders is Orders as of 1.2. It also decodes cents that are a string, as JavaScript writes
// large numbers, but never encodes them so.
func TolerantOrders() Topic[Order] {
	strict := codec.JSON[Order]()
	text := codec.JSON[struct {
		Order
		Cents int64 `json:"cents,string"` // hides that of Order
	}]()
	return Topic[Order]{orders, codec.Func(strict.Append, func(body []byte) (Order, error) {
		o, err := strict.Decode(body)
		if err == nil {
			return o, nil
		}
		v, notText := text.Decode(body)
		if notText != nil {
			return o, err
		}
		v.Order.Cents = v.Cents
		return v.Order, nil
	})}
}
