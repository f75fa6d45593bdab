// Package contract is what the shop and billing have agreed on: which topics
// there are, and what is in them. Both import it, and nothing else of each
// other. Who publishes a receipt as an order, or consumes it as one, does not
// compile.
package contract

import (
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
)

// Topic is the name of a topic and the type of what is in it.
type Topic[T any] struct {
	Name  string
	Codec codec.Codec[T]
}

// Producer makes a producer to the topic.
func (t Topic[T]) Producer(opts ...nsqx.ProducerOption) (*nsqx.Producer[T], error) {
	return nsqx.NewProducer(t.Name, t.Codec, opts...)
}

// Consumer makes a consumer of one of the topic's channels.
func (t Topic[T]) Consumer(channel string, fn handler.Func[T], opts ...nsqx.ConsumerOption) (*nsqx.Consumer[T], error) {
	return nsqx.NewConsumer(t.Name, channel, t.Codec, fn, opts...)
}

// Order is something that a customer has bought.
type Order struct {
	ID    int   `json:"id"`
	Cents int64 `json:"cents"`

	// Currency is new in 1.1, and optional, so that both sides may be deployed in
	// any order: billing 1.0 ignores it, and billing 1.1 takes "" for EUR, which
	// all orders were in before.
	Currency string `json:"currency,omitzero"`
}

// In returns the currency of the order.
func (o Order) In() string {
	if o.Currency == "" {
		return "EUR"
	}
	return o.Currency
}

// Receipt says that an order is paid.
type Receipt struct {
	Order  int    `json:"order"`
	Number string `json:"number"`
}

// Names of topics.
const (
	orders     = "orders"
	receipts   = "receipts"
	DeadOrders = "orders.dead" // orders that billing has given up
)

// Orders go from the shop to billing.
func Orders() Topic[Order] { return Topic[Order]{orders, codec.JSON[Order]()} }

// Receipts go from billing to whoever is interested.
func Receipts() Topic[Receipt] { return Topic[Receipt]{receipts, codec.JSON[Receipt]()} }

// TolerantOrders is Orders as of 1.2, which also reads cents that are a string,
// as JavaScript likes to write large numbers. Be strict in what you write, and
// lenient in what you read.
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
