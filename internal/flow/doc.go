// Package flow computes how many messages a consumer has in flight, and how many of them on each
// connection. It contains pure functions and small state machines that are fed with events and
// instants, without locks, clocks or goroutines.
package flow
