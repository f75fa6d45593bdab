package nsqxtest_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/nsqxtest"
)

// The consumer finds the server by its topic, also after it has moved.
func ExampleLookupd() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	lookupd := nsqxtest.NewLookupd(t)
	srv := nsqxtest.NewServer(t, nsqxtest.WithLookupds(lookupd))
	srv.Publish("orders", []byte("first"))
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(_ context.Context, order string) error {
			fmt.Println(order)
			return nil
		},
		nsqx.WithLookupd("nsqlookupd.prod:4161"),
		nsqx.WithLookupInterval(100*time.Millisecond),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		lookupd.Option(), // replaces nsqlookupd.prod
	)
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, consumer)
	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })

	srv.Stop()
	srv.Start("nsqd-2.test:4150") // as in a cluster that gives it a new address
	srv.Publish("orders", []byte("second"))
	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 2 })
	// Output:
	// first
	// second
}
