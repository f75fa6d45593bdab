package main

import (
	"syscall"
	"time"
)

// sleepUntil is exact to about 60 µs. In an otherwise idle process, time.Sleep is late by a
// millisecond.
func sleepUntil(t time.Time) {
	for left := time.Until(t); left > 0; left = time.Until(t) {
		pause := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&pause, nil) // a signal interrupts it: repeat
	}
}
