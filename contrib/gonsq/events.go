package gonsq

import (
	"sync"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/observe"
)

// events tells who waits that something has happened to a connection or a poll.
type events struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, at each event
}

func (e *events) init() { e.changed = make(chan struct{}) }

// next returns a channel that is closed at the next event.
func (e *events) next() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

func (e *events) tell() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *events) hooks() nsqx.Hooks {
	tell := func(observe.ConnEvent) { e.tell() }
	return nsqx.Hooks{OnConnect: tell, OnDisconnect: tell, OnDialError: tell, OnLookup: func(observe.LookupEvent) { e.tell() }}
}
