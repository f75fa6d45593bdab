package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/notify"
)

// TestOverdueHandlers: each is told of once when it is overdue and once when it has returned, and the
// oldest each minute while there is any.
func TestOverdueHandlers(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		began := time.Now()
		src := &staticSource{terms: handler.Terms{Start: began}}
		var events []string
		post := func(ev notify.Event) {
			name := map[notify.Kind]string{notify.Overdue: "overdue", notify.StillOverdue: "still", notify.Returned: "returned"}[ev.Kind]
			events = append(events, fmt.Sprintf("%v %s %c %d", time.Since(began), name, ev.Message[15], ev.Found))
		}
		message := func(n byte) *handler.Delivery {
			d := new(handler.Delivery)
			d.Init(&handler.Read{Source: src, At: src.terms.Now()}, handler.ID([]byte("000000000000000"+string('0'+n))), 1, 0, nil)
			return d
		}
		first := message(1)
		time.Sleep(time.Second)
		second := message(2)
		var o overdueHandlers
		step := func(d time.Duration, now ...*handler.Delivery) {
			for range d / (10 * time.Second) {
				o.tell(now, post)
				time.Sleep(10 * time.Second)
			}
		}
		step(time.Minute)
		step(90*time.Second, second)
		step(90*time.Second, second, first)
		step(10*time.Second, first)
		step(time.Minute)
		check.Want(t, "known at the end", len(o.known), 0)
		step(10*time.Second, second)
		check.Want(t, "events", strings.Join(events, "\n"), strings.Join([]string{
			"1m1s overdue 2 1", "2m1s still 2 1", "2m31s overdue 1 2", "3m1s still 1 2", "4m1s returned 2 1", "4m1s still 1 1", "4m11s returned 1 0", "5m11s overdue 2 1",
		}, "\n"))
	})
}

// staticSource is a source of messages without a network.
type staticSource struct {
	handler.Source
	terms handler.Terms
}

func (s *staticSource) NSQD() string          { return nsqd1 }
func (s *staticSource) Terms() *handler.Terms { return &s.terms }
