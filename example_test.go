package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

type Order struct {
	ID    int
	Cents int
}

func bill(ctx context.Context, o Order) error {
	if o.Cents < 0 {
		return errors.New("the ledger is closed")
	}
	fmt.Printf("order %d: %d cents, attempt %d\n", o.ID, o.Cents, handler.FromContext(ctx).Attempts)
	return nil
}

// A service that bills orders. Cancelling ctx drains it.
func Example() {
	nsqd := nsqxtest.NewServer(exampleT{}) // in memory; a service needs a real nsqd
	defer nsqd.Close()

	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), bill,
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqd.Option(), // replaces that address
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithConcurrency(1),
		nsqx.WithRetry(retry.Exponential(time.Minute, time.Hour, retry.WithRandomizationFactor(0))),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()

	nsqd.Publish("orders", []byte(`{"ID":1,"Cents":700}`), []byte(`{"ID":2,"Cents":-3}`), []byte(`{"ID":3,"Cents":5}`))
	nsqd.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 2 && st.Requeued == 1 })
	cancel()
	fmt.Println("ended:", <-ended)
	for _, answer := range nsqd.Commands("FIN", "REQ") {
		fmt.Println("nsqd heard", answer)
	}
	// Output:
	// order 1: 700 cents, attempt 1
	// order 3: 5 cents, attempt 1
	// ended: <nil>
	// nsqd heard FIN 0000000000000001
	// nsqd heard REQ 0000000000000002 60000
	// nsqd heard FIN 0000000000000003
}

// exampleT replaces the *testing.T of a test, which an example does not have.
type exampleT struct{ testing.TB }

func (exampleT) Helper()                           {}
func (exampleT) Cleanup(func())                    {}
func (exampleT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
