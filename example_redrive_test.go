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

// A card is blocked, so an order ends as a dead letter. When the card is not blocked any more, the dead letters go back to
// where they came from.
func ExampleRedrive() {
	server := nsqxtest.NewServer(inExample{}) // in production: nsqd
	defer server.Close()
	opts := nsqx.WithOptions(server.Option(), nsqx.WithLogger(slog.New(slog.DiscardHandler)))

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
	server.Publish("orders", headers.AppendTo(nil, []byte("order 7")))
	server.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })

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

// inExample stands for the *testing.T of a test, which examples do not have.
type inExample struct{ testing.TB }

func (inExample) Helper()                           {}
func (inExample) Context() context.Context          { return context.Background() }
func (inExample) Cleanup(func())                    {}
func (inExample) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (inExample) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
