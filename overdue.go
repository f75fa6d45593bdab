package nsqx

import (
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// overdue counts, by connection, the messages in handlers' hands that nsqd has
// given to someone else by now. It calls warn once for each of them.
func (ws *workers) overdue(warn func(m *handler.Delivery)) map[*conn.Conn]int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var late map[*conn.Conn]int
	for _, w := range ws.all {
		m := ws.e.queue.current(&w.pocket)
		if m == nil || lost(m) || m.Answerable() {
			continue
		}
		if late == nil {
			late = make(map[*conn.Conn]int)
		}
		late[m.Source().(*conn.Conn)]++
		if w.warned != m {
			w.warned = m
			warn(m)
		}
	}
	return late
}
