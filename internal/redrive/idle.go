package redrive

import (
	"errors"
	"sync"
	"time"

	"github.com/nsqx/nsqx/observe"
)

// ErrLate is the failure of a redrive in which a message comes after the idle time.
var ErrLate = errors.New("nsqx: a dead letter came, or its filter returned, when the idle time had ended, and stays: see WithRedriveIdle")

// Idle tells when a redrive has had nothing to do for a while. Its methods are safe for concurrent use.
type Idle struct {
	limit time.Duration

	mu      sync.Mutex
	last    time.Time           // when it began, or something happened
	working int                 // messages in hand
	reached map[string]struct{} // nsqds that were connected
}

// NewIdle returns an Idle that has not begun.
func NewIdle(limit time.Duration) *Idle {
	return &Idle{limit: limit, reached: make(map[string]struct{})}
}

// Restart begins anew.
func (i *Idle) Restart() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last = time.Now()
}

// Begin keeps the time from ending until end is called, and begins anew then.
func (i *Idle) Begin() (end func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.working++
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.working--
		i.last = time.Now()
	}
}

// look is the pause between two looks at a dial.
const look = 100 * time.Millisecond

// Rest returns how much of the time is left: more than 0 while a message is in hand, or an nsqd is
// dialled for the first time. It begins anew when an nsqd is connected for the first time.
func (i *Idle) Rest(nsqds []observe.ConnStats, busy bool) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	least := time.Duration(0)
	for _, n := range nsqds {
		_, before := i.reached[n.Addr]
		switch {
		case before:
		case n.Connected:
			i.reached[n.Addr] = struct{}{}
			if n.Since.After(i.last) {
				i.last = n.Since
			}
		case n.LastErr == nil: // until its dial ends, at the latest by a timeout
			least = look
		}
	}
	if busy || i.working > 0 {
		return i.limit
	}
	return max(i.limit-time.Since(i.last), least)
}
