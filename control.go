package nsqx

import (
	"cmp"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
)

// control decides how many messages the consumer has in flight, and what each
// connection has of them. One goroutine, run, looks at the load each
// [flow.Tick], and more often at first; the connections make RDYs of their shares by themselves.
type control struct {
	e     *engine
	start time.Time
	wake  chan struct{} // holds one

	asleep   atomic.Bool // run waits for a message, without a ticker
	watching atomic.Bool // the breaker is not closed: it wants to know of each success

	// Guarded by mu, which is held when shares are set, so that who has closed
	// them finds them closed. It comes before the locks of engine, connections
	// and queue.
	mu          sync.Mutex
	running     bool // from the start of the workers to that of the drain
	concurrency int
	fixed       int // WithMaxInFlight; 0: automatic
	paused      bool
	breaker     *flow.Breaker // nil: none
	failures    failures
	total       int                // what was shared out last
	yielding    bool               // a connection may still use more than its share: others wait for that
	overdue     int                // messages held that nsqd has given to others
	stalled     bool               // no worker is free, and messages have waited for too long
	careful     bool               // there was a stall: MaxInFlight may be more than workers can do
	bound       int                // of the messages that wait
	bounded     time.Time          // when it was last no higher than it ought to be
	flood       map[*conn.Conn]int // messages beyond the bound

	// Of run alone.
	service flow.Service
	size    flow.Size
	loads   map[*conn.Conn]conn.Load // when they were looked at last
	last    uint64                   // results when they were counted last
	spent   time.Duration            // by workers, when it was counted last
	turn    int
	quiet   int    // ticks without a message
	seen    uint64 // messages received when they were counted last
}

func newControl(e *engine) *control {
	c := &control{
		e: e, start: time.Now(), wake: make(chan struct{}, 1),
		concurrency: e.cfg.concurrency, fixed: e.cfg.maxInFlight, flood: make(map[*conn.Conn]int),
	}
	if !e.cfg.withoutBackoff {
		c.breaker = flow.NewBreaker(flow.Backoff(e.cfg.backoff))
	}
	c.total = cmp.Or(c.fixed, c.concurrency)
	c.setBound(nil)
	return c
}

// now is the present instant, as the breaker counts it.
func (c *control) now() time.Duration { return time.Since(c.start) }

// poke makes run look again at once.
func (c *control) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// arrived is called when messages have come: run may have gone to sleep.
func (c *control) arrived() {
	if c.asleep.Load() && c.asleep.Swap(false) {
		c.poke()
	}
}

// run adjusts the shares until done is closed. While there is nothing to look at
// it waits for a message or a change.
func (c *control) run(done <-chan struct{}) {
	pace := c.firstTick()
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	ticking := true
	for {
		select {
		case <-done:
			return
		case <-c.wake:
			if !ticking {
				ticking = true
				pace = c.firstTick()
				ticker.Reset(pace)
			}
			c.adjust(false)
		case <-ticker.C:
			c.measure()
			c.adjust(true)
			switch {
			case pace < flow.Tick:
				pace = min(2*pace, flow.Tick)
				ticker.Reset(pace)
			case c.idle():
				ticking = false
				ticker.Stop()
			}
		}
	}
}

// firstTick is how long the first tick takes, of the start or after an idle time; each one
// after it takes twice as long, until it is [flow.Tick]. It is short while nobody knows what
// handlers take: a hundred thousand messages may come in a tick.
func (c *control) firstTick() time.Duration {
	if _, known := c.service.Time(); known {
		return flow.Tick
	}
	return flow.Tick / 32
}

// idle says whether the next tick could bring nothing new.
func (c *control) idle() bool {
	if c.quiet < 2 || !c.settled() { // asked again: shares may have been lowered since measure
		return false
	}
	c.asleep.Store(true)
	if c.received() == c.seen { // else one has come before it could wake run
		return true
	}
	c.asleep.Store(false)
	return false
}

// received counts the messages of all connections there are.
func (c *control) received() (n uint64) {
	for _, conn := range c.e.connections() {
		n += conn.Received()
	}
	return n
}

// measure looks at workers and queue.
func (c *control) measure() {
	ws, q := &c.e.workers, c.e.queue
	q.tick()
	busy, results := ws.busy(), ws.results()
	spent := q.spent()
	c.service.Add(spent-c.spent, results-c.last)
	c.spent = spent
	q.setBatch(c.batch())

	for _, m := range q.dropDead() {
		ws.skip(m)
	}
	late := ws.overdue(c.warn)
	overdue := 0
	for _, conn := range c.e.connections() {
		n := late[conn]
		conn.SetTimedOut(n)
		overdue += n
	}

	c.mu.Lock()
	c.overdue = overdue
	for conn, n := range c.flood {
		if c.flood[conn] = n / 2; n < 2 {
			delete(c.flood, conn)
		}
	}
	c.record()
	c.mu.Unlock()

	received := c.received()
	if busy == 0 && q.waiting() == 0 && results == c.last && received == c.seen && c.settled() {
		c.quiet++
	} else {
		c.quiet = 0
	}
	moved := results != c.last
	c.last, c.seen = results, received
	c.unstall(moved)
}

// settled says whether nothing is due that comes with time alone.
func (c *control) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.flood) == 0 && !c.yielding && !c.watching.Load() && !c.stalled && len(c.e.connections()) <= c.total
}

// warn tells of a handler whose message was given to someone else.
func (c *control) warn(m *handler.Delivery) {
	c.e.events.post(eventOverdue, event{
		ConnEvent: c.e.connEvent(m.NSQD(), nil), message: m.ID, age: time.Since(m.Received()),
	})
}

// batch is how many messages a worker takes at once: what it does in a fraction
// of a millisecond.
func (c *control) batch() int {
	mean, ok := c.service.Time()
	if !ok {
		return 1
	}
	return int(max(min(200*time.Microsecond/max(mean, 1), maxBatch), 1))
}

// adjust shares out what may be in flight.
func (c *control) adjust(tick bool) {
	conns := c.e.connections()
	shares := make([]flow.Quota, len(conns))
	c.mu.Lock()
	defer c.mu.Unlock()
	loads := c.look(tick, conns)
	allowed := c.allowed()
	c.total = min(c.limit(conns, loads), allowed)
	c.setBound(conns)
	c.yielding = false
	for i, l := range loads {
		shares[i] = flow.Quota{Set: l.Quota, Held: l.Held, Max: conns[i].MaxRDY(), Demand: 2 * l.Peak}
		if l.Starved {
			shares[i].Demand = c.total
		}
	}
	if allowed == 0 {
		c.hold()
		return
	}
	c.e.queue.release()
	if c.stalled || c.e.queue.isCrowded() {
		c.shut()
		return
	}
	given := 0
	for _, l := range loads {
		given += min(l.Quota, 1)
	}
	if tick && len(conns) > c.total && given >= c.total {
		c.turn = (c.turn + c.total) % len(conns)
	}
	for i, n := range flow.Quotas(c.total, shares, c.turn) {
		if n != loads[i].Quota {
			conns[i].SetQuota(n)
		}
		c.yielding = c.yielding || loads[i].Held > n
	}
}

// look returns the loads of connections, and notes how large messages are. Between
// ticks the last period still counts: the present one has only begun. The caller
// holds mu.
func (c *control) look(tick bool, conns []*conn.Conn) []conn.Load {
	if tick {
		c.size.Fade()
	}
	loads := make([]conn.Load, len(conns))
	seen := make(map[*conn.Conn]conn.Load, len(conns))
	for i, conn := range conns {
		l, before := conn.Load(tick), c.loads[conn]
		c.size.Add(l.Received-before.Received, l.Bytes-before.Bytes)
		if !tick {
			l.Peak, l.Starved = max(l.Peak, before.Peak), l.Starved || before.Starved
		}
		loads[i], seen[conn] = l, l
	}
	c.loads = seen
	return loads
}

// allowed is how many messages pause and breaker let be in flight. The caller
// holds mu.
func (c *control) allowed() int {
	switch {
	case c.paused:
		return 0
	case c.breaker != nil:
		return c.breaker.Limit(c.now())
	}
	return math.MaxInt
}

// limit is how many messages the consumer could do with in flight now. The caller
// holds mu.
func (c *control) limit(conns []*conn.Conn, loads []conn.Load) int {
	var rtt time.Duration
	var most int
	for i, l := range loads {
		rtt, most = max(rtt, l.RTT), max(most, conns[i].MaxRDY())
	}
	auto := c.concurrency + c.service.Ahead(c.concurrency, rtt, most)
	q := c.e.queue
	if q.idle() > 0 && q.waiting() == 0 {
		auto = max(auto, len(conns))
	}
	n := min(auto, most)
	if c.fixed > 0 {
		if c.careful = c.careful && auto < min(c.fixed, most); !c.careful {
			n = c.fixed
		} else {
			n = min(n, c.fixed)
		}
	}
	n = c.size.Fit(c.e.cfg.maxInFlightBytes, n)
	if c.stalled {
		n = min(n, c.concurrency)
	}
	return max(n-c.overdue, 0)
}
