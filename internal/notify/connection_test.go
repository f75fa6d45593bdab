package notify

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

// TestLastConnection: the line of the last connection that is lost says so, once until one is back.
func TestLastConnection(t *testing.T) {
	lost := func(addr string) step { return step{connEvent(Disconnect, addr, lostConn), time.Second} }
	for topic, what := range map[string]string{"orders": "no message is delivered", "": "nothing can be published"} {
		check.Bubble(t, what, func(t *testing.T) {
			left := 2
			lines := writtenOf(t, topic, topic, []step{lost("a:1"), lost("b:1"), lost("c:1"), {connEvent(Connect, "a:1", nil), time.Second}, lost("a:1")}, func(q *Queue) {
				q.Connected(func() (connected, known int) {
					left = max(left-1, 0)
					return left, 3
				})
			})
			var got []string
			for i, line := range lines {
				if strings.Contains(line, `connection lost: no nsqd is connected, and `+what+`"`) {
					got = append(got, fmt.Sprint(i))
				}
			}
			check.Want(t, "lines that say so", strings.Join(got, " "), "1 4")
			check.Want(t, "lines", len(lines), 5)
		})
	}
}

// TestLateLine: a line that was held has the connections of the moment at which it is written.
func TestLateLine(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		left := 10
		steps := times(5, step{connEvent(Disconnect, "a:1", lostConn), 0})
		steps[4].after = time.Minute
		lines := writtenOf(t, "orders", "billing", steps, func(q *Queue) {
			q.Connected(func() (connected, known int) { left--; return left, 10 })
		})
		check.Want(t, "last line has its end", strings.HasSuffix(lines[3], " connected=4 known=10 others=1 over_seconds=5"), true)
	})
}

// TestManyAreDown: a line names eight nsqds beside the first, and says how many it does not name.
func TestManyAreDown(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var steps []step
		for i := range 12 {
			steps = append(steps, step{connEvent(DialError, fmt.Sprintf("n%02d:1", i), io.EOF), 0})
		}
		steps[11].after = repeat
		lines := writtenOf(t, "orders", "billing", append(steps, step{connEvent(DialError, "n05:1", io.EOF), 0}))
		want := `others=11 other_addresses="[n01:1 n02:1 n03:1 n04:1 n05:1 n06:1 n07:1 n08:1]" and_more=3 connected=2 known=3`
		check.Want(t, "the last line has its end", strings.HasSuffix(lines[len(lines)-1], want), true)
	})
}
