package testnsqd

import "go.uber.org/goleak"

// Leaks are the goroutines that nsqd itself leaves behind when a client makes a topic while it exits: it closes those that it
// knew before. Once in 200 runs of the shutdown tests it does.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreTopFunction("github.com/nsqio/nsq/nsqd.(*Topic).messagePump"),
		goleak.IgnoreTopFunction("github.com/nsqio/go-diskqueue.(*diskQueue).ioLoop"),
	}
}
