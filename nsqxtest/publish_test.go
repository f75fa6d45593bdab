package nsqxtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := connect(t, s)
		c.identify("")
		c.send("%s", with("PUB orders", "a")+with("MPUB orders", "\x00\x00\x00\x02\x00\x00\x00\x01b\x00\x00\x00\x01c")+with("DPUB orders 1500", "d"))
		c.want("OK", "OK", "OK", "OK")
		s.Publish("orders", []byte("by the test"))

		wantList(t, "received", nsqxtest.Received(t, s, "orders", codec.String(), 4), "a", "b", "c", "d")
		published := s.Published("orders")
		check.Want(t, "published", len(published), 4)
		check.Want(t, "delay", published[3].Delay, 1500*time.Millisecond)
		check.Want(t, "id", published[3].ID.String(), id(4))
		check.Want(t, "connection", published[3].Conn, 1)

		sub := subscribed(t, s, "")
		sub.send("RDY 10\n")
		time.Sleep(1500*time.Millisecond - 1)
		check.Want(t, "not deferred", len(sub.got()), 4)
		time.Sleep(251 * time.Millisecond)
		sub.want("message 4 attempt 1: d")
	})
}
