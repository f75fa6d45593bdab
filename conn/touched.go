package conn

import (
	"slices"
	"strings"
	"sync"

	"github.com/nsqx/nsqx/handler"
)

// touchedSet finds the delivery whose TOUCH nsqd has refused. It knows the
// messages that were touched and are not settled, and some that are: a message
// that is never touched costs nothing, and nobody says when one is settled.
type touchedSet struct {
	mu    sync.Mutex
	byID  map[handler.ID][]*handler.Delivery // in the order of their first TOUCH; nil until there is one
	limit int                                // of len(byID), before what is settled is taken out
}

// minTouched is the least limit.
const minTouched = 64

// Touch asks nsqd for another message timeout; see [handler.Message.Touch],
// which is what to call.
func (c *Conn) Touch(m *handler.Delivery) error {
	c.touched.add(m) // before nsqd can refuse it
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

// sweep takes out what is settled. It makes room for as many as are left, so
// that a TOUCH pays for a constant part of it.
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

// refused returns the delivery that a refused TOUCH was for; nil if it is
// settled, or known to have expired.
//
// An id may be in more than one hand: nsqd has delivered the message again on
// this connection, and the handler of the earlier delivery still runs. nsqd
// looks at the id only, but the later delivery exists because the earlier one
// has expired; so it is the TOUCH of the earlier one that came too late, unless
// we know that this one has expired. (Two refused TOUCHes of the earlier one,
// with the second still on its way when the later one is touched, are beyond
// what can be told apart: the later one's context ends too soon, and nothing
// else happens to it than to one that has expired.)
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

// expire heeds the text of an E_TOUCH_FAILED, "TOUCH <id> failed …".
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
