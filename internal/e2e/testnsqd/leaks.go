package testnsqd

import "go.uber.org/goleak"

// Leaks returns goroutines that nsqd leaks when a client creates a topic while nsqd exits: it
// closes only the topics it knew before. The shutdown tests trigger that once in 200 runs.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreTopFunction("github.com/nsqio/nsq/nsqd.(*Topic).messagePump"),
		goleak.IgnoreTopFunction("github.com/nsqio/go-diskqueue.(*diskQueue).ioLoop"),
	}
}
