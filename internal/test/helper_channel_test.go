package test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/fake"
)

// channel plays one channel of nsqd for one connection: RDY, timeouts, requeues, attempts. It also
// checks the client.
type channel struct {
	t       *testing.T
	timeout time.Duration

	mu       sync.Mutex
	l        *line
	rdy      int
	waiting  []string
	inFlight map[string]time.Time // timeout
	deferred map[string]time.Time
	attempts map[string]uint16
	sentOn   map[string]*line
	finished map[string]int
	refused  int // answers to messages that were not in flight

	requeued func(id string, attempts uint16, ms int) // called for each REQ
}

func newChannel(t *testing.T, d *nsqds, timeout time.Duration) *channel {
	c := &channel{t: t, timeout: timeout, inFlight: map[string]time.Time{}, deferred: map[string]time.Time{},
		attempts: map[string]uint16{}, sentOn: map[string]*line{}, finished: map[string]int{}, requeued: func(string, uint16, int) {}}
	d.identify = map[string]any{"msg_timeout": timeout.Milliseconds(), "max_msg_timeout": 10 * timeout.Milliseconds()}
	d.on = c.command
	return c
}

func (c *channel) command(l *line, cmd fake.Command) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var id string
	if len(cmd.Params) > 0 {
		id = cmd.Params[0]
	}
	_, flies := c.inFlight[id]
	switch cmd.Name {
	case "SUB":
		c.l, c.rdy = l, 0
		return false
	case "RDY":
		c.rdy, _ = strconv.Atoi(id)
	case "TOUCH":
		if flies {
			c.inFlight[id] = time.Now().Add(c.timeout)
		}
	case "FIN", "REQ":
		if c.sentOn[id] != l {
			c.t.Errorf("%s on another connection than the message's", short(cmd.String()))
		}
		if !flies {
			c.refused++
			l.fail(fmt.Sprintf("E_%s_FAILED %s %s failed ID not in flight", cmd.Name, cmd.Name, id))
			return true
		}
		delete(c.inFlight, id)
		if cmd.Name == "FIN" {
			c.finished[id]++
			return true
		}
		ms, _ := strconv.Atoi(cmd.Params[1])
		c.requeued(id, c.attempts[id], ms)
		c.deferred[id] = time.Now().Add(time.Duration(ms) * time.Millisecond)
	default:
		return false
	}
	return true
}

// publish adds n messages.
func (c *channel) publish(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		c.waiting = append(c.waiting, fake.ID(uint64(len(c.attempts)+1)))
		c.attempts[c.waiting[len(c.waiting)-1]] = 0
	}
}

// advance lets time pass and delivers messages.
func (c *channel) advance(d time.Duration) {
	const step = 20 * time.Millisecond
	for ; d > 0; d -= step {
		synctest.Wait()
		c.deliver()
		time.Sleep(step)
	}
	synctest.Wait()
}

// deliver sends what may be delivered now.
func (c *channel) deliver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for _, m := range []map[string]time.Time{c.inFlight, c.deferred} {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			if !m[id].After(now) {
				delete(m, id)
				c.waiting = append(c.waiting, id)
			}
		}
	}
	for c.l != nil && len(c.inFlight) < c.rdy && len(c.waiting) > 0 {
		id := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.attempts[id]++
		c.inFlight[id] = now.Add(c.timeout)
		c.sentOn[id] = c.l
		c.l.sendAs(parseID(id), c.attempts[id], id)
	}
}

func parseID(id string) uint64 {
	n, _ := strconv.ParseUint(id, 16, 64)
	return n
}

func (c *channel) wantFinished(n int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.finished) != n || len(c.inFlight)+len(c.waiting)+len(c.deferred) > 0 {
		c.t.Errorf("%d finished, %d in flight, %d wait, %d deferred; want %d finished", len(c.finished), len(c.inFlight), len(c.waiting), len(c.deferred), n)
	}
}
