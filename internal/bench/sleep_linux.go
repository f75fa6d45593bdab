package main

import (
	"syscall"
	"time"
)

// sleepUntil is on time by some 60 µs; time.Sleep, in a process that is otherwise idle, by a millisecond.
func sleepUntil(t time.Time) {
	for left := time.Until(t); left > 0; left = time.Until(t) {
		pause := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&pause, nil) // a signal cuts it short: then once more
	}
}
