package testnsqd_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What is ignored nsqd leaves behind when a client makes a topic while it exits.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/nsqio/nsq/nsqd.(*Topic).messagePump"),
		goleak.IgnoreTopFunction("github.com/nsqio/go-diskqueue.(*diskQueue).ioLoop"))
}
