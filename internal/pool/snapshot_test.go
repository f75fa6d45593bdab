package pool

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestOldest: the oldest message is found in the deque and in batches.
func TestOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, src := newQueueOf(100), newSource()
		q.setBatchSize(maxBatch)
		worker := newBatches(q, 1)[0]
		start := time.Now()
		if oldest(q) != nil {
			t.Error("an empty queue has an oldest message")
		}
		for i := range 5 {
			mustPut(t, q, src.messages(2*i, 2))
			time.Sleep(time.Second)
		}
		for i := range 10 {
			if at := oldest(q).Received().Sub(start); at != time.Duration(i/2)*time.Second {
				t.Errorf("%d taken: the oldest was received after %v", i, at)
			}
			q.take(worker)
			if i == 4 {
				mustPut(t, q, src.messages(10, 1)) // newer, and alone in the deque
			}
		}
		if at := oldest(q).Received().Sub(start); at != 5*time.Second {
			t.Errorf("at the end the oldest was received after %v", at)
		}
	})
}
