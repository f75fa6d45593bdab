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
// is written only for such deliveries, and read only when a message might be given up.
type uncounted struct {
	mu    sync.Mutex
	young map[deliveryKey]uint16
	old   map[deliveryKey]uint16 // as young was when it was full
}

// deliveryKey identifies a message of the channel. Ids alone collide between nsqds.
type deliveryKey struct {
	nsqd string
	id   handler.ID
}

// add counts a delivery that is no attempt.
func (u *uncounted) add(d *handler.Delivery) {
	key := deliveryKey{d.NSQD(), d.ID}
	u.mu.Lock()
	defer u.mu.Unlock()
	n, known := u.young[key]
	if !known {
		n = u.old[key]
		delete(u.old, key)
		if len(u.young) >= uncountedSize {
			u.old, u.young = u.young, nil
		}
		if u.young == nil {
			u.young = make(map[deliveryKey]uint16)
		}
	}
	if n+1 > n {
		n++
	}
	u.young[key] = n
}

// count returns how many deliveries of a message are no attempts.
func (u *uncounted) count(d *handler.Delivery) int {
	key := deliveryKey{d.NSQD(), d.ID}
	u.mu.Lock()
	defer u.mu.Unlock()
	return int(u.young[key]) + int(u.old[key])
}

// deliveries is nsqd's number of the delivery.
func deliveries(d *handler.Delivery) int { return notify.Attempts(d) }

// attempts is how many deliveries count towards MaxAttempts, this one included.
func (c *Consumer) attempts(d *handler.Delivery) int {
	return max(deliveries(d)-c.uncounted.count(d), 1)
}

// attemptsReach reports whether attempts is at least limit; 0 is no limit.
func (c *Consumer) attemptsReach(d *handler.Delivery, limit int) bool {
	return limit > 0 && deliveries(d) >= limit && c.attempts(d) >= limit
}
