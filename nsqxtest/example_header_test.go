package nsqxtest_test

import (
	"fmt"
	"time"

	"github.com/nsqx/nsqx/nsqxtest"
)

// A message that comes before its time is given back, for an hour at most. Later it is handled.
func ExampleWithNotBefore() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	billing, err := NewBilling()
	if err != nil {
		fmt.Println(err)
		return
	}
	order := []byte(`{"ID":7,"Cents":500}`)
	early := nsqxtest.Deliver(t, billing, order, nsqxtest.WithNotBefore(time.Now().Add(3*24*time.Hour)))
	fmt.Println("early:", early.Disposition, early.Delay)

	due := nsqxtest.Deliver(t, billing, order, nsqxtest.WithNotBefore(time.Now()), nsqxtest.WithUID("order-7"))
	fmt.Println("due:", due.Disposition)
	// Output:
	// early: requeue 1h0m0s
	// due: finish
}
