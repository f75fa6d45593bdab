package main

// A body's first byte says what the message is for, if it comes from the sender. It sends a mark only when everything
// before it has been answered, and nothing after it until it has been answered itself: what a client does between the
// two marks is the measured messages, whole.
const (
	ordinary  = 'm'
	startMark = 's'
	stopMark  = 'e'
)

// deliveries is the number of messages that the sender has in all: warm-up, measured, and the two marks.
func (j job) deliveries() int { return j.warmup() + 1 + j.Messages + 1 }
