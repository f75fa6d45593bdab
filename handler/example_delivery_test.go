package handler_test

import (
	"fmt"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// A delivery is settled once, by the first to claim it.
func ExampleDelivery_Claim() {
	m := nsqxtest.Message(nil)
	d := (*handler.Delivery)(m)
	fmt.Println(d.Claim())
	fmt.Println(d.Claim())
	fmt.Println(m.Touch())
	// Output:
	// true
	// false
	// nsqx: message is settled
}

// Messages that are read together share one piece of memory.
func ExampleRead() {
	block := []byte("12")
	r := &handler.Read{
		Source: (*handler.Delivery)(nsqxtest.Message(nil)).Source(),
		Free:   func() { fmt.Println("the block may be used again") },
	}
	read := make([]handler.Delivery, 2)
	for i := range read {
		read[i].Init(r, handler.ID{}, 1, 0, block[i:i+1])
	}

	for i := range read {
		fmt.Printf("handling %s\n", read[i].Body)
		read[i].Release()
	}
	// Output:
	// handling 1
	// handling 2
	// the block may be used again
}
