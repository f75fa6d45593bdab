// Package leaks reports goroutines that the tests of an example leave running.
package leaks

import "go.uber.org/goleak"

// VerifyTestMain calls goleak.VerifyTestMain. It ignores goroutines that nsqd leaves running if a
// client creates a topic while nsqd exits.
func VerifyTestMain(m goleak.TestingM) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/nsqio/nsq/nsqd.(*Topic).messagePump"),
		goleak.IgnoreTopFunction("github.com/nsqio/go-diskqueue.(*diskQueue).ioLoop"))
}
