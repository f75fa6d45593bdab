package conn

import (
	"slices"
	"strings"
	"sync"

	"github.com/nsqx/nsqx/handler"
)

// touchedSet finds the delivery whose TOUCH nsqd refused. Settled messages stay until the next
// sweep, so a message that is never touched costs nothing.
type touchedSet struct {
	mu    sync.Mutex
	byID  map[handler.ID][]*handler.Delivery // in the order of the first TOUCH
	limit int                                // of len(byID), before a sweep
}

const minTouched = 64

// Touch queues a TOUCH, which asks nsqd for another message timeout. Call [handler.Message.Touch]
// instead.
func (c *Conn) Touch(m *handler.Delivery) error {
	c.touched.add(m) // before nsqd can refuse
	return c.out.touch(m)
}

func (t *touchedSet) add(m *handler.Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Contains(t.byID[m.ID], m) {
		return
	}
	if len(t.byID) >= t.limit {
		t.sweep()
	}
	t.byID[m.ID] = append(slices.DeleteFunc(t.byID[m.ID], (*handler.Delivery).Claimed), m)
}

// sweep removes settled messages. The new limit makes its cost constant per TOUCH.
func (t *touchedSet) sweep() {
	if t.byID == nil {
		t.byID = make(map[handler.ID][]*handler.Delivery)
	}
	for id, msgs := range t.byID {
		if t.byID[id] = slices.DeleteFunc(msgs, (*handler.Delivery).Claimed); len(t.byID[id]) == 0 {
			delete(t.byID, id)
		}
	}
	t.limit = max(minTouched, 2*len(t.byID))
}

// refused returns the delivery that a refused TOUCH was for, or nil if it is settled or expired.
//
// Several deliveries have one id if nsqd redelivered the message while the first handler runs. nsqd
// matches the id only, but a later delivery exists only because the earlier one expired, so the
// TOUCH belongs to the earliest that is not known to have expired. One case is ambiguous: a second
// refused TOUCH of the earlier delivery, on its way when the later one is touched, ends the later
// context too soon.
func (t *touchedSet) refused(id handler.ID) *handler.Delivery {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.byID[id] {
		if !m.Claimed() && m.Answerable() {
			return m
		}
	}
	return nil
}

// expire handles the text of an E_TOUCH_FAILED: "TOUCH <id> failed …".
func (c *Conn) expire(text string) {
	words := strings.Fields(text)
	if len(words) < 2 || words[0] != "TOUCH" {
		return
	}
	id, err := handler.ParseID(words[1])
	if err != nil {
		return
	}
	if m := c.touched.refused(id); m != nil {
		m.Expire()
	}
}
