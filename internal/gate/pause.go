// Package gate has gates of a consumer. A gate says how many messages may be in flight, whatever the
// handlers have room for; control takes the least of what they say.
package gate

import (
	"math"
	"sync/atomic"
	"time"
)

// Pause is a gate that the user shuts. Its methods are safe for concurrent use.
type Pause struct {
	changed func()
	paused  atomic.Bool
}

// NewPause returns an open gate. It calls changed after each change.
func NewPause(changed func()) *Pause { return &Pause{changed: changed} }

// Set shuts or opens the gate.
func (p *Pause) Set(paused bool) {
	p.paused.Store(paused)
	p.changed()
}

// Paused reports whether the gate is shut.
func (p *Pause) Paused() bool { return p.paused.Load() }

// Room implements control.Gate.
func (p *Pause) Room() (n int, holds time.Duration) {
	if p.Paused() {
		return 0, 0
	}
	return math.MaxInt, 0
}
