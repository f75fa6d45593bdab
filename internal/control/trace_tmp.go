package control

import (
	"fmt"
	"os"
	"time"

	"github.com/nsqx/nsqx/conn"
)

var traceOn = os.Getenv("NSQX_TRACE") != ""
var traceLast = map[*Control]string{}

func (c *Control) trace(conns []*conn.Conn, loads []conn.Load, running, waiting, idle int, restrained bool, next time.Duration) {
	if !traceOn {
		return
	}
	s := ""
	for i, l := range loads {
		s += fmt.Sprintf(" %s:q%d/h%d/f%d", conns[i].Addr()[5:7], l.Quota, l.Held, l.InFlight)
	}
	m, _ := c.service.Time()
	text := fmt.Sprintf("run=%d wait=%d idle=%d total=%d stuck=%d stalled=%v restr=%v open=%v mean=%v next=%v%s", running, waiting, idle, c.total, c.stuck, c.stalled, restrained, c.turns.Open(), m.Round(time.Millisecond), next, s)
	fmt.Printf("T %p %v %s\n", c, c.now(), text)
}
