package control

import (
	"slices"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/notify"
)

// tellOverdue is how often the handlers are told of that are still overdue.
const tellOverdue = time.Minute

// overdueHandlers tells of handlers that outlive their messages: of each at once, of the oldest each
// minute while there are any, and of each when it returns.
type overdueHandlers struct {
	known map[*handler.Delivery]bool
	told  time.Time // when all were told of last
}

// tell takes the messages that are overdue now.
func (o *overdueHandlers) tell(now []*handler.Delivery, post func(notify.Event)) {
	if len(now) == 0 && len(o.known) == 0 {
		return
	}
	event := func(kind notify.Kind, m *handler.Delivery) {
		ev := notify.Event{Kind: kind, Found: len(now)}
		ev.SetMessage(m)
		post(ev)
	}
	before := o.known
	o.known = make(map[*handler.Delivery]bool, len(now))
	if len(before) == 0 {
		o.told = time.Now()
	}
	for _, m := range now {
		if o.known[m] = true; !before[m] {
			event(notify.Overdue, m)
		}
	}
	for m := range before {
		if !o.known[m] {
			event(notify.Returned, m)
		}
	}
	if len(now) > 0 && time.Since(o.told) >= tellOverdue {
		o.told = time.Now()
		event(notify.StillOverdue, slices.MinFunc(now, func(a, b *handler.Delivery) int { return a.Received().Compare(b.Received()) }))
	}
}
