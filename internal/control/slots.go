package control

import (
	"math"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/pool"
)

// A slot is the place of one handler. It takes a message, or several together: Config.SlotSize. Only what
// waits for a slot may stall; see unstall.

// messages returns how many messages n slots take. It saturates.
func (c *Control) messages(n int) int {
	return int(min(int64(n)*int64(max(c.cfg.SlotSize, 1)), math.MaxInt32))
}

// slotRoom is how many messages slots of several take within patience: none wait for a handler that is
// slow, although it has fewer than its slot takes. The caller holds mu.
func (c *Control) slotRoom(s pool.Snapshot, conns []*conn.Conn, restrained bool) int {
	workers := c.workers()
	slow := c.cfg.SlotSize > 1 && !c.cfg.FixedRDY && (restrained || c.service.Capacity(workers, patience(conns)) <= workers)
	c.slotsCount.Store(slow)
	if !slow {
		return math.MaxInt
	}
	free := workers - max(s.Busy()-c.stuck, 0)
	return c.messages(max(free, 0)) + max(len(s.Running)-c.stuckMessages, 0)
}

// passOver chooses silent connections that get nothing until the next tick, and counts those that keep one
// message each: slots of several that are slow would lose a place to each of them. So while another
// connection uses all it has, they are asked in turn, as many at a time as an eighth of a slot. A slot
// does not wait for what they keep. The caller holds mu.
func (c *Control) passOver(loads []conn.Load) (passed map[int]bool, kept int) {
	if !c.slotsCount.Load() {
		return nil, 0
	}
	var silent []int
	starved := false
	for i, l := range loads {
		if starved = starved || l.Starved; l.Peak == 0 && l.InFlight == 0 && !doubtful(l) {
			silent = append(silent, i)
		}
	}
	n := len(silent)
	if !starved || n == 0 {
		return nil, 0
	}
	kept = min(max(c.cfg.SlotSize/8, 1), n)
	passed = make(map[int]bool, n-kept)
	for k := kept; k < n; k++ {
		passed[silent[(c.ticks*kept+k)%n]] = true
	}
	return passed, kept
}

// SlotMoved tells that a handler has taken what fills its slot, or has answered it.
func (c *Control) SlotMoved() {
	if c.slotsCount.Load() {
		c.Yielded()
	}
}

// tellSmall tells once if nsqds never let a slot be full, after the first result: all nsqds may be
// connected then. See fit for the limit of bytes. The caller holds mu.
func (c *Control) tellSmall(conns []*conn.Conn) {
	size := c.cfg.SlotSize
	if _, known := c.service.Time(); size <= 1 || c.toldSmall || !known || len(conns) == 0 {
		return
	}
	n := min(size, maxRDY(conns))
	if c.fixed > 0 {
		n = min(n, c.fixed)
	}
	if n < size {
		c.toldSmall = true
		c.cfg.Post(notify.Event{Kind: notify.SmallBatches, Found: n, Named: size})
	}
}
