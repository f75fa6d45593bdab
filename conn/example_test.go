package conn_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// printer is a Sink that prints messages. It handles them in the read loop, which is only
// acceptable because printing is quick: a consumer passes messages to other goroutines.
type printer struct{}

func (printer) Deliver(c *conn.Conn, msgs []handler.Delivery) {
	for i := range msgs {
		m := &msgs[i]
		fmt.Printf("%s: %s\n", m.Topic(), m.Body)
		c.Finish(m)
		m.Release() // m.Body must not be used from here on
	}
}

func (printer) Refused(_ *conn.Conn, err error) { log.Print(err) }
func (printer) Yielded(*conn.Conn)              {}

// publish publishes one message over a connection of its own.
func publish(ctx context.Context, addr string, cfg conn.Config, topic, body string) error {
	c, err := conn.Dial(ctx, addr, cfg, nil)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- c.Serve(printer{}) }() // Serve reads nsqd's answers
	err = c.Publish(ctx, &conn.Pub{Topic: topic, Bodies: [][]byte{[]byte(body)}})
	c.CloseWrite()
	if end := <-served; err == nil {
		err = end
	}
	return err
}

// consume prints the messages of a channel until ctx ends. It returns nil if nsqd has confirmed
// that it has read every answer.
func consume(ctx context.Context, addr string, cfg conn.Config, sub *conn.Subscription) error {
	c, err := conn.Dial(ctx, addr, cfg, sub)
	if err != nil {
		return err
	}
	c.SetQuota(100) // before this call nsqd sends no messages
	stop := context.AfterFunc(ctx, func() {
		c.StopDelivery()
		select {
		case <-c.DeliveryStopped():
		case <-c.Done():
		}
		c.CloseWrite()
	})
	defer stop()
	return c.Serve(printer{})
}

// A connection publishes, and another one consumes until the process is interrupted.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	const addr = "127.0.0.1:4150"
	cfg := conn.Config{Compression: conn.Snappy, CompressionOptional: true}
	if err := publish(ctx, addr, cfg, "orders", "order 1"); err != nil {
		log.Fatal(err)
	}
	sub := &conn.Subscription{Topic: "orders", Channel: "billing"}
	if err := consume(ctx, addr, cfg, sub); err != nil {
		log.Fatal(err)
	}
}
