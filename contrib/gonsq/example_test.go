package gonsq_test

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"

	nsq "github.com/nsqx/nsqx/contrib/gonsq"
)

// billing is a handler as go-nsq has it.
type billing struct{}

func (billing) HandleMessage(m *nsq.Message) error {
	switch string(m.Body) {
	case "busy":
		m.RequeueWithoutBackoff(5 * time.Second)
	case "bad":
		return errors.New("cannot be billed")
	}
	return nil
}

// The program is go-nsq's, but for the import.
func Example() {
	cfg := nsq.NewConfig()
	cfg.MaxInFlight = 10
	c, err := nsq.NewConsumer("orders", "billing", cfg)
	if err != nil {
		log.Fatal(err)
	}
	c.AddConcurrentHandlers(billing{}, 4)
	if err := c.ConnectToNSQLookupd("127.0.0.1:4161"); err != nil {
		log.Fatal(err)
	}
	// until a signal comes
	c.Stop()
	<-c.StopChan
}

// What cannot be had is refused by name.
func ExampleNewConsumer() {
	cfg := nsq.NewConfig()
	_ = cfg.Set("low_rdy_timeout", "10s")
	_ = cfg.Set("msg_timeout", "20ms")
	_, err := nsq.NewConsumer("orders", "billing", cfg)
	fmt.Println(err)
	// Output:
	// gonsq: low_rdy_timeout is 10s: with nsqx the nsqds take turns by themselves; leave the default, 30s
	// gonsq: msg_timeout is 20ms: with nsqx it may be 1s to 24h0m0s in whole milliseconds, or 0 for nsqd's own
}

// The handler stays, the consumer is nsqx's.
func ExampleFunc() {
	c, err := nsqx.NewConsumer("orders", "billing", codec.Bytes(), nsq.Func(billing{}),
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithRetry(retry.Schedule(time.Second)),
		nsqx.WithMaxAttempts(5),
		nsqx.WithDeadLetter("orders.dead"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, body := range []string{"good", "busy", "bad"} {
		m := nsqxtest.Message([]byte(body))
		out := c.Process(m.Context(), m)
		fmt.Println(body, out.Disposition, out.Delay)
	}
	// Output:
	// good finish 0s
	// busy requeue 5s
	// bad requeue 1s
}
