// Package control decides how many messages a consumer has in flight, and how many of them each
// connection may have: its quota, of which the connection makes an RDY by itself.
package control

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/pool"
)

// Config are the settings of a Control, and what it works on.
type Config struct {
	Concurrency      int // slots for handlers
	SlotSize         int // messages that a slot takes at once, at least 1
	MaxInFlight      int // 0: automatic
	MaxInFlightBytes int
	FixedRDY         bool          // WithFixedRDY: MaxInFlight is used as given, whatever handlers can start
	Gates            []Gate        // what else bounds the messages in flight
	Failed           func() uint64 // counts the messages whose handlers have failed

	Pool  *pool.Pool
	Conns func() []*conn.Conn   // the connections of this moment
	Post  func(notify.Event)    // takes what the log says of flow control, and of handlers that outlive their messages
	Renew func(*conn.Conn) bool // replaces a connection: see redial.Set.Renew; nil: none is
}

// Control sets the quotas of connections. One goroutine, Run, looks at the load each [flow.Tick],
// more often at first, and not at all while there is nothing to do. All methods are safe for
// concurrent use.
type Control struct {
	cfg   Config
	pool  *pool.Pool
	start time.Time
	wake  chan struct{} // holds one
	moved chan struct{} // holds one

	alarm      *time.Timer  // wakes Run after the first message, for a probe or for a gate; stopped while Run ticks
	due        atomic.Int64 // when it fires in sleep, since start
	pace       atomic.Int64 // how long after a message Run looks, if it must look soon
	sleep      atomic.Int32 // awake, asleep or dozing
	slotsCount atomic.Bool  // how many messages may be in flight depends on which slots are free
	openTurns  atomic.Bool  // every connection may deliver: the first message closes the others

	// mu is held while quotas are set, so that whoever has closed RDY finds it closed. It comes
	// before the locks of the pool and of connections.
	mu            sync.Mutex
	running       bool // from Start to Stop
	concurrency   int
	fixed         int       // WithMaxInFlight; 0: automatic
	shut          bool      // a gate was shut when it was asked last: the pool is suspended
	total         int       // shared out last
	yielding      bool      // a connection may still use more than its quota: others wait for that
	stuck         int       // workers with a message that is beyond its time or whose connection is lost
	stuckMessages int       // of those workers
	overdue       int       // of those, workers with a message that is beyond its time
	stalled       bool      // no worker is free, and messages have waited for too long
	restraint     restraint // after messages were given back
	nextTick      bool      // turns go on with the next tick
	ticks         int       // so far
	turns         flow.Turns[*conn.Conn]
	capacity      int                      // messages that may wait in the pool
	lowered       time.Time                // since when a lower capacity would do; zero if none would
	flood         map[*conn.Conn]int       // messages beyond capacity
	drifted       map[*conn.Conn]bool      // those whose drift was told
	room          map[*conn.Conn]time.Time // since when nsqd may send more
	cutTold       bool                     // that bytes allow fewer messages than are asked for
	closedAt      time.Time                // when RDY was last closed on purpose
	toldSmall     bool                     // that nothing fills a slot

	// Used by Run alone.
	service   flow.Service
	size      flow.Size
	loads     map[*conn.Conn]*conn.Load // when they were last looked at
	results   uint64                    // when they were last counted
	runs      uint64                    // when they were last counted
	failed    uint64                    // when they were last counted
	busyTime  time.Duration             // when it was last read
	measured  time.Time                 // when that was
	outliving overdueHandlers
	busy      bool          // messages are in hand
	received  uint64        // messages, when they were last counted
	holds     time.Duration // how long the room of the gates holds; 0: for ever
	active    time.Time     // when there was last something to do
	rests     bool          // the pool rests, since there is nothing to do
}

// What Run does; only it begins to sleep.
const (
	awake  = iota // it ticks, or looks soon
	asleep        // it waits for a message, without a ticker
	dozing        // there was one, and the alarm goes off within a lull
)

// lull is how long after the first message Run looks if messages find idle workers. To look costs as
// much as a few messages, since it wakes threads.
const lull = time.Second

// restAfter is how long there must be nothing to do before the pool gives memory back.
const restAfter = time.Minute

// New returns a Control with the settings of cfg. It does nothing before Start and Run.
func New(cfg Config) *Control {
	c := &Control{
		cfg: cfg, pool: cfg.Pool, start: time.Now(), wake: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		concurrency: cfg.Concurrency, fixed: cfg.MaxInFlight, flood: make(map[*conn.Conn]int), drifted: make(map[*conn.Conn]bool),
		room: make(map[*conn.Conn]time.Time),
	}
	c.total = cmp.Or(c.fixed, c.concurrency)
	c.setCapacity(nil, c.total)
	return c
}

// Wake makes Run adjust the quotas at once.
func (c *Control) Wake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Yielded makes Run pass on what a connection has lost, since nsqd obeys its lower quota.
func (c *Control) Yielded() {
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// Arrived wakes Run if it must act on messages that have arrived: at once if turns are open, else a
// tick later, or after a lull. soon says that messages wait for a worker, or that their connection could
// use a larger quota. To set a timer costs the read loop less than to wake a goroutine.
func (c *Control) Arrived(soon bool) {
	pace := time.Duration(c.pace.Load())
	soon = soon || pace < flow.Tick
	switch {
	case c.openTurns.Load():
		c.Wake()
	case soon:
		if c.sleep.Load() != awake && c.sleep.Swap(awake) != awake {
			c.alarm.Reset(pace)
		}
	case c.sleep.Load() == asleep && c.sleep.CompareAndSwap(asleep, dozing):
		if time.Duration(c.due.Load())-time.Since(c.start) > lull {
			c.alarm.Reset(lull)
		}
		if c.sleep.Load() != dozing { // another connection has set it meanwhile
			c.alarm.Reset(pace)
		}
	}
}

// Run adjusts the quotas until done is closed.
func (c *Control) Run(done <-chan struct{}) {
	pace := c.firstTick()
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	turn := time.NewTimer(time.Hour) // for the next end of a turn
	defer turn.Stop()
	turn.Stop()
	c.alarm = time.NewTimer(time.Hour)
	c.alarm.Stop()
	defer c.alarm.Stop()
	ticking := true
	rouse := func() {
		if !ticking {
			ticking = true
			c.sleep.Store(awake)
			c.alarm.Stop()
			pace = c.firstTick()
			ticker.Reset(pace)
		}
	}
	look := func() (next time.Duration) {
		c.measure()
		next = c.adjust(true)
		switch {
		case pace < flow.Tick:
			pace = min(2*pace, flow.Tick)
			ticking = true
			ticker.Reset(pace)
		case c.idle():
			if ticking {
				ticking = false
				ticker.Stop()
			}
		case !ticking:
			ticking = true
			ticker.Reset(pace)
		}
		return next
	}
	for {
		next := time.Duration(0)
		select {
		case <-done:
			return
		case <-turn.C:
			next = c.adjust(false)
		case <-c.moved:
			next = c.adjust(false)
		case <-c.alarm.C:
			c.sleep.Store(awake)
			if !ticking {
				pace = c.firstTick()
			}
			next = look()
		case <-c.wake:
			rouse()
			next = c.adjust(false)
		case <-ticker.C:
			next = look()
		}
		if turn.Stop(); next > 0 {
			turn.Reset(next)
		} else if !ticking && c.needsTick() {
			rouse()
		}
	}
}

// firstTick is the length of the first tick at the start or after sleep; each further one is twice
// as long, up to [flow.Tick]. It is short until the service time is known: a hundred thousand
// messages may arrive in a tick.
func (c *Control) firstTick() time.Duration {
	if _, known := c.service.Time(); known {
		return flow.Tick
	}
	return flow.Tick / 32
}

// idle reports whether Run may sleep: the next tick would change nothing.
func (c *Control) idle() bool {
	if c.busy || !c.settled() { // asked again, since quotas may have been lowered after measure
		return false
	}
	wait, ok := c.nextDoubt()
	if !ok {
		return false
	}
	if c.holds > 0 {
		wait = min(wait, c.holds)
	}
	if !c.rests {
		wait = min(wait, restAfter-time.Since(c.active))
	}
	c.alarm.Reset(wait)
	c.due.Store(int64(time.Since(c.start) + wait))
	c.pace.Store(int64(c.firstTick()))
	c.sleep.Store(asleep)
	if c.countReceived() == c.received && !inHand(c.pool.Snapshot()) { // else a message arrived before it could wake Run
		return true
	}
	c.sleep.Store(awake)
	c.alarm.Stop()
	return false
}

// needsTick reports whether turns go on with the next tick.
func (c *Control) needsTick() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextTick
}

// settled reports whether nothing is pending that time alone changes.
func (c *Control) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.flood) == 0 && !c.yielding && !c.nextTick && !c.stalled && c.stuck == 0
}

// countReceived counts the messages of the present connections.
func (c *Control) countReceived() (n uint64) {
	for _, conn := range c.cfg.Conns() {
		n += conn.Received()
	}
	return n
}
