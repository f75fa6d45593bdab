package settings_test

import (
	"context"
	"fmt"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/settings"
)

// The URL wins over the defaults of the code.
func Example() {
	o, err := settings.Consumer("nsq+lookupd://lookupd-0:4161,lookupd-1:4161?concurrency=32&dead_letter=orders.dead")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { return nil }, o,
		nsqx.WithDefaults(nsqx.WithConcurrency(8), nsqx.WithMaxAttempts(5)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Stats().Concurrency, len(c.Stats().Lookups))

	_, err = settings.Consumer("nsq://127.0.0.1:4150?concurrency=0&msg_timeout=10")
	fmt.Println(err)
	// Output:
	// 32 2
	// nsqx: settings: concurrency is 0, want 1 to 65536
	// nsqx: settings: msg_timeout is "10", want a duration, such as 1m30s or 500ms
}
