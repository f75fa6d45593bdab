// Package leaks looks for goroutines that the tests of an example leave behind.
package leaks

import "go.uber.org/goleak"

// VerifyTestMain is that of goleak, but for what nsqd leaves behind when a client makes
// a topic while it exits: it closes those that it knew before.
func VerifyTestMain(m goleak.TestingM) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/nsqio/nsq/nsqd.(*Topic).messagePump"),
		goleak.IgnoreTopFunction("github.com/nsqio/go-diskqueue.(*diskQueue).ioLoop"))
}
