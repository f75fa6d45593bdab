package nsqxtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/nsqxtest"
)

// TestBilling is the test in the documentation of the package.
func TestBilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nsqxtest.NewServer(t)
		consumer, err := NewBilling(srv.Option())
		if err != nil {
			t.Fatal(err)
		}
		nsqxtest.Run(t, consumer)

		srv.Publish("orders", []byte(`{"ID": 7, "Cents": 9900}`))
		time.Sleep(3 * time.Minute) // virtual
		srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool {
			return st.Requeued == 2 && st.Finished == 1
		})
	})
}
