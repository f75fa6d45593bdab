package handler_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// localSource is a Source without a network: its messages have a minute, of which a
// second is kept for the way of the answer.
type localSource struct {
	ctx   context.Context
	terms handler.Terms
}

func newLocalSource(ctx context.Context) *localSource {
	return &localSource{ctx: ctx, terms: handler.Terms{
		Start:             time.Now(),
		MessageTimeout:    time.Minute,
		MaxMessageTimeout: 15 * time.Minute,
		Margin:            time.Second,
	}}
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

// deliver makes a message as a connection does.
func (s *localSource) deliver(body string) *handler.Message {
	id, _ := handler.ParseID("0f9c3a7e5b1d2846")
	d := new(handler.Delivery)
	d.Init(&handler.Read{Source: s}, id, 1, 1_700_000_000_000_000_000, []byte(body))
	return d.Message()
}

// Whoever makes messages implements Source and calls Init; most tests of
// handlers get by with NewContext.
func ExampleDelivery_Init() {
	s := newLocalSource(context.Background())

	id, err := handler.ParseID("0f9c3a7e5b1d2846")
	if err != nil {
		fmt.Println(err)
		return
	}
	d := new(handler.Delivery)
	d.Init(&handler.Read{Source: s}, id, 3, 1_700_000_000_000_000_000, []byte("42"))

	m := d.Message()
	fmt.Println(m.ID, m.Topic(), m.Channel(), m.NSQD(), "attempt", m.Attempts)
	fmt.Println(m.Timestamp().UTC().Format(time.RFC3339))
	fmt.Printf("%s\n", m.Body)
	// Output:
	// 0f9c3a7e5b1d2846 orders billing 127.0.0.1:4150 attempt 3
	// 2023-11-14T22:13:20Z
	// 42
}

// Deadline says until when nsqd certainly waits; the context of the handler
// ends a little earlier, so that the answer still arrives.
func ExampleMessage_Deadline() {
	m := newLocalSource(context.Background()).deliver("42")

	if deadline, ok := m.Deadline(); ok {
		fmt.Println("answer within", deadline.Sub(m.Received()))
	}
	if latest, ok := m.Context().Deadline(); ok {
		fmt.Println("however often it is touched, within", latest.Sub(m.Received()))
	}
	// Output:
	// answer within 59s
	// however often it is touched, within 15m0s
}

// A delivery is settled once, whoever asks first.
func ExampleDelivery_Claim() {
	m := newLocalSource(context.Background()).deliver("42")
	d := (*handler.Delivery)(m)
	fmt.Println(d.Claim())
	fmt.Println(d.Claim())
	fmt.Println(m.Touch())
	// Output:
	// true
	// false
	// nsqx: message is settled
}

// Messages that were read together share one piece of memory.
func ExampleRead() {
	block := []byte("12")
	r := &handler.Read{
		Source: newLocalSource(context.Background()),
		Free:   func() { fmt.Println("the block may be used again") },
	}
	msgs := make([]handler.Delivery, 2)
	for i := range msgs {
		msgs[i].Init(r, handler.ID{}, 1, 0, block[i:i+1])
	}

	for i := range msgs {
		fmt.Printf("handling %s\n", msgs[i].Body)
		msgs[i].Release()
	}
	// Output:
	// handling 1
	// handling 2
	// the block may be used again
}
