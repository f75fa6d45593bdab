package consume

import (
	"sync"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/notify"
)

// uncountedSize is how many messages one half of uncounted remembers.
const uncountedSize = 2048

// uncounted remembers the deliveries of messages that are no attempts: nsqd counts them, but no
// handler saw the message, or its run tells nothing of it. It keeps the last 2048 to 4096 messages. It
// is written only for such deliveries and failures of delayed messages, and read only when a message
// might be given up.
type uncounted struct {
	mu    sync.Mutex
	young map[deliveryKey]noAttempts
	old   map[deliveryKey]noAttempts // as young was when it was full
}

// noAttempts are the deliveries of a message that are no attempts: the first ones, which came before
// the message was due, and others.
type noAttempts struct {
	early  int  // number of the last delivery that is known to have come early
	exact  bool // the next one was not early
	others uint16
}

// deliveryKey identifies a message of the channel. Ids alone collide between nsqds.
type deliveryKey struct {
	nsqd string
	id   handler.ID
}

// add counts a delivery that is no attempt.
func (u *uncounted) add(d *handler.Delivery) {
	u.change(d, func(n *noAttempts) {
		if n.others+1 > n.others {
			n.others++
		}
	})
}

// early notes a delivery before the message was due: it is no attempt, nor is any before it.
func (u *uncounted) early(d *handler.Delivery) {
	u.change(d, func(n *noAttempts) { *n = noAttempts{early: deliveries(d)} })
}

// count returns how many deliveries of a message that is due are no attempts, and how many of them
// came early. hops is how many may have come early, of which other processes may have seen some.
func (u *uncounted) count(d *handler.Delivery, hops int) (all, early int) {
	if !d.Scheduled() {
		u.mu.Lock()
		defer u.mu.Unlock()
		return int(u.get(keyOf(d)).others), 0
	}
	u.change(d, func(n *noAttempts) {
		n.exact = n.exact || n.early == deliveries(d)-1
		if early = n.early; !n.exact {
			early = max(early, hops)
		}
		all = early + int(n.others)
	})
	return all, early
}

func keyOf(d *handler.Delivery) deliveryKey { return deliveryKey{d.NSQD(), d.ID} }

// get returns what is known of a message. The caller holds mu.
func (u *uncounted) get(key deliveryKey) noAttempts {
	if n, ok := u.young[key]; ok {
		return n
	}
	return u.old[key]
}

// change changes what is known of a message.
func (u *uncounted) change(d *handler.Delivery, change func(*noAttempts)) {
	key := keyOf(d)
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.get(key)
	if _, young := u.young[key]; !young {
		delete(u.old, key)
		if len(u.young) >= uncountedSize {
			u.old, u.young = u.young, nil
		}
		if u.young == nil {
			u.young = make(map[deliveryKey]noAttempts)
		}
	}
	change(&n)
	u.young[key] = n
}

// deliveries is nsqd's number of the delivery.
func deliveries(d *handler.Delivery) int { return notify.Attempts(d) }

// delivered is how often the message was delivered since it was due, this delivery included.
func (c *Consumer) delivered(d *handler.Delivery) int {
	if !d.Scheduled() { // nearly always
		return deliveries(d)
	}
	_, early := c.uncounted.count(d, c.hops(d))
	return max(deliveries(d)-early, 1)
}

// attempts is how many deliveries count towards MaxAttempts, this one included.
func (c *Consumer) attempts(d *handler.Delivery) int {
	all, _ := c.uncounted.count(d, c.hops(d))
	return max(deliveries(d)-all, 1)
}

// attemptsReach reports whether attempts is at least limit; 0 is no limit.
func (c *Consumer) attemptsReach(d *handler.Delivery, limit int) bool {
	return limit > 0 && deliveries(d) >= limit && c.attempts(d) >= limit
}
