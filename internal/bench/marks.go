package main

// The first byte of the sender's bodies is the kind of the message. A mark is sent once all earlier
// messages are answered, and nothing follows until the mark is answered. So exactly the measured
// messages lie between the two marks.
const (
	ordinary  = 'm'
	startMark = 's'
	stopMark  = 'e'
)

// deliveries is the number of all messages of the sender: warm-up, measured, and two marks.
func (j job) deliveries() int { return j.warmup() + 1 + j.Messages + 1 }
