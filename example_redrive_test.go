package nsqx_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// A card is blocked, so an order becomes a dead letter. Once the card works again, Redrive sends the
// dead letter back to the topic that it came from.
func ExampleRedrive() {
	nsqd := nsqxtest.NewServer(redriveT{}) // in memory; a service names its nsqds with WithNSQD or WithLookupd
	defer nsqd.Close()
	opts := nsqx.WithOptions(nsqd.Option(), nsqx.WithLogger(slog.New(slog.DiscardHandler)))

	var blocked atomic.Bool
	blocked.Store(true)
	charged := make(chan string, 1)
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(ctx context.Context, order string) error {
		if blocked.Load() {
			return retry.Permanent(fmt.Errorf("the card of %s is blocked", order))
		}
		charged <- fmt.Sprintf("charged: %s of %s", order, handler.FromContext(ctx).Header("tenant"))
		return nil
	}, nsqx.WithDeadLetter("orders.dead"), opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- consumer.Run(ctx) }()

	var headers envelope.Writer
	_ = headers.Set("tenant", "acme")
	nsqd.Publish("orders", headers.AppendTo(nil, []byte("order 7")))
	nsqd.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })

	blocked.Store(false)
	report, err := nsqx.Redrive(ctx, "orders.dead", "", opts, nsqx.WithRedriveRate(50), nsqx.WithRedriveIdle(200*time.Millisecond))
	fmt.Println("redriven:", report.Redriven, err)
	fmt.Println(<-charged)

	cancel()
	fmt.Println("ended:", <-ended)
	// Output:
	// redriven: 1 <nil>
	// charged: order 7 of acme
	// ended: <nil>
}

// redriveT replaces the *testing.T of a test, which an example does not have.
type redriveT struct{ testing.TB }

func (redriveT) Helper()                           {}
func (redriveT) Cleanup(func())                    {}
func (redriveT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (redriveT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
