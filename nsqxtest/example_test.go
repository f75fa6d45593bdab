package nsqxtest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

type Order struct{ ID, Cents int }

// bill is the handler of the service. Large orders succeed at the third attempt.
func bill(ctx context.Context, o Order) error {
	switch {
	case o.Cents < 0:
		return retry.Permanent(fmt.Errorf("order %d: negative", o.ID))
	case o.Cents > 1000 && handler.FromContext(ctx).Attempts < 3:
		return retry.After(time.Minute, errors.New("no credit"))
	}
	return nil
}

// NewBilling makes the consumer of the service. A test passes more options.
func NewBilling(opts ...nsqx.ConsumerOption) (*nsqx.Consumer[Order], error) {
	return nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), bill,
		nsqx.WithNSQD("nsqd.prod:4150"),
		nsqx.WithDeadLetter("orders.dead"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithConsumerOptions(opts...),
	)
}

// Two tests of a service: testDeliver and testServer would be test functions.
func Example() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	testDeliver(t)
	testServer(t)
	// Output:
	// first attempt: requeue 1m0s
	// third attempt: finish
	// finished [0000000000000001]
	// dead letters [{ID:2 Cents:-1}]
}

// testDeliver passes messages to the consumer. It needs no server.
func testDeliver(t testing.TB) {
	consumer, err := NewBilling()
	if err != nil {
		t.Fatal(err)
	}
	large := []byte(`{"ID": 3, "Cents": 9900}`)
	out := nsqxtest.Deliver(t, consumer, large)
	fmt.Println("first attempt:", out.Disposition, out.Delay)
	out = nsqxtest.Deliver(t, consumer, large, nsqxtest.WithAttempts(3))
	fmt.Println("third attempt:", out.Disposition)
}

// testServer runs the consumer with an nsqd in memory.
func testServer(t testing.TB) {
	srv := nsqxtest.NewServer(t)
	consumer, err := NewBilling(srv.Option())
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, consumer)

	srv.Publish("orders", []byte(`{"ID": 1, "Cents": 500}`))
	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })
	fmt.Println("finished", srv.Finished("orders", "billing"))

	srv.Publish("orders", []byte(`{"ID": 2, "Cents": -1}`))
	dead := nsqxtest.Received(t, srv, "orders.dead", codec.JSON[Order](), 1)
	fmt.Printf("dead letters %+v\n", dead)
}

// exampleT replaces the *testing.T of a test, which an example does not have.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                           {}
func (t *exampleT) Context() context.Context          { return context.Background() }
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf("ERROR "+format+"\n", args...) }

func (t *exampleT) Fatal(args ...any) {
	fmt.Println(args...)
	os.Exit(1)
}

// end runs the cleanups, last one first, like the end of a test.
func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
