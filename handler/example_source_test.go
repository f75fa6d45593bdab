package handler_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// localSource is a Source without a network. It reads messages from memory.
type localSource struct {
	ctx   context.Context
	terms handler.Terms
}

func (s *localSource) Topic() string            { return "orders" }
func (s *localSource) Channel() string          { return "billing" }
func (s *localSource) NSQD() string             { return "127.0.0.1:4150" }
func (s *localSource) Context() context.Context { return s.ctx }
func (s *localSource) Terms() *handler.Terms    { return &s.terms }

func (s *localSource) Touch(d *handler.Delivery) error {
	fmt.Println("TOUCH", d.ID)
	return nil
}

// A connection implements Source and initializes deliveries. To test a handler, use
// nsqxtest.Message or NewContext instead.
func ExampleSource() {
	s := &localSource{ctx: context.Background(), terms: handler.Terms{
		Start:             time.Now(),
		MessageTimeout:    time.Minute,
		MaxMessageTimeout: 15 * time.Minute,
		Margin:            time.Second,
	}}
	id, err := handler.ParseID("0f9c3a7e5b1d2846")
	if err != nil {
		fmt.Println(err)
		return
	}
	r := &handler.Read{Source: s, At: s.terms.Now()}
	d := new(handler.Delivery)
	d.Init(r, id, 3, 1_700_000_000_000_000_000, []byte("42"))

	m := d.Message() // for the handler
	fmt.Println(m.ID, m.Topic(), m.Channel(), m.NSQD(), "attempt", m.Attempts)
	fmt.Println(m.Timestamp().UTC().Format(time.RFC3339))
	fmt.Printf("%s\n", m.Body)
	fmt.Println(m.Touch())

	d.End() // the handler has returned: answer, then
	d.Release()
	// Output:
	// 0f9c3a7e5b1d2846 orders billing 127.0.0.1:4150 attempt 3
	// 2023-11-14T22:13:20Z
	// 42
	// TOUCH 0f9c3a7e5b1d2846
	// <nil>
}
