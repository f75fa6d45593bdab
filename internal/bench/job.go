package main

import (
	"errors"
	"fmt"
)

// maxSize is the largest message that nsqd accepts by default.
const maxSize = 1 << 20

// job is one drain, as the parent hands it to the two processes that do it.
type job struct {
	Messages    int    // measured messages
	Size        int    // bytes of a body
	Workers     int    // concurrent handlers
	MaxInFlight int    // RDY
	Client      string // name of the client; empty in the sender's process
	Addr        string // the sender's address; empty in the sender's process
}

// warmup is the number of messages that go before the measured ones.
func (j job) warmup() int { return max(1, j.Messages/10) }

// deliveries is the number of messages in all: warm-up, measured, and the two marks.
func (j job) deliveries() int { return j.warmup() + 1 + j.Messages + 1 }

func (j job) validate() error {
	var tooLarge error
	if j.Size > maxSize {
		tooLarge = fmt.Errorf("bench: size is %d, must be at most %d", j.Size, maxSize)
	}
	return errors.Join(atLeastOne("messages", j.Messages), atLeastOne("size", j.Size), atLeastOne("workers", j.Workers), tooLarge)
}

func atLeastOne(name string, n int) error {
	if n < 1 {
		return fmt.Errorf("bench: %s is %d, must be at least 1", name, n)
	}
	return nil
}

// A body's first byte says what the message is for. The sender sends a mark only when everything before it has
// been answered, and nothing after it until it has been answered itself: what a client does between the two
// marks is the measured messages, whole.
const (
	ordinary  = 'm'
	startMark = 's'
	stopMark  = 'e'
)
