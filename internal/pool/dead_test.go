package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// TestDead: dead messages at the front are removed always, others only when room is needed. The order
// stays.
func TestDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, src, gone := newQueueOf(8), newSource(), newSource()
		mustPut(t, q, gone.messages(0, 2))
		mustPut(t, q, src.messages(2, 1))
		mustPut(t, q, gone.messages(3, 2))
		gone.end(handler.ErrConnLost)
		wantNumbers(t, "dead at the front", mustPut(t, q, src.messages(5, 2)), 0, 1)
		wantNumbers(t, "dead, with room", mustPut(t, q, src.messages(7, 3)))
		wantNumbers(t, "dead, without room", mustPut(t, q, src.messages(10, 1)), 3, 4)
		time.Sleep(time.Minute)
		wantNumbers(t, "dead when all have timed out", mustPut(t, q, src.messages(11, 2)), 2, 5, 6, 7, 8, 9, 10)
		time.Sleep(30 * time.Second)
		mustPut(t, q, src.messages(13, 1))
		wantNumbers(t, "dropped too early", q.dropDead())
		time.Sleep(30 * time.Second)
		wantNumbers(t, "dropped", q.dropDead(), 11, 12)
		wantNumbers(t, "rest", q.close(), 13)
	})
}
