package pool

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nsqx/nsqx/handler"
)

// TestPocketTells: of what is finished when nothing waits in the batch any more, whoever has taken it away, and once; of a message
// that the worker has answered itself, not at all.
func TestPocketTells(t *testing.T) {
	q, p := newQueueOf(100), newPlace()
	q.setBatchSize(maxBatch)
	batches := staff(q, 2)
	worker := batches[0]
	var told []*handler.Delivery
	worker.ack = func(msgs []handler.Delivery) { told = append(told, pointers(msgs)...) }
	check := func(what string, finished, last int) {
		t.Helper()
		wantNumbers(t, "told of, "+what, told, series(0, last)...)
		if n := worker.finished(); n != uint64(finished) {
			t.Errorf("%s: %d finished, want %d", what, n, finished)
		}
	}
	mustPut(t, q, p.messages(0, 40))
	take(q, worker, 3) // and 3 … 19 for its batch
	check("while more waits", 2, -1)
	q.setBatchSize(1) // puts back what waits
	check("when it is taken away", 2, 1)
	take(q, worker, 1) // 3 alone
	check("alone", 3, 2)

	q.setBatchSize(maxBatch)
	take(q, worker, 2) // 4, and 5 … 19
	check("a new batch", 5, 3)
	worker.detachCurrent()
	check("5 is answered otherwise", 5, 4)
	take(q, worker, 2) // 6, 7
	check("6 waits for the others", 6, 4)
	tick(q)
	wantNumbers(t, "told of in the end", told, 0, 1, 2, 3, 4, 6)
	if n, _ := worker.waiting(); n != 0 {
		t.Errorf("%d wait in an old batch", n)
	}
	worker.flushAcks()
	worker.flushAcks()
	wantNumbers(t, "told of by the worker", told, 0, 1, 2, 3, 4, 6, 7)
	q.close()
	if take(q, worker, 1)[0] != nil || worker.current() != nil || worker.finished() != 7 {
		t.Errorf("at the end: %v is handled, %d finished", worker.current(), worker.finished())
	}
}

// TestPocketTellsWithoutTheLast: when only the last message of a batch is handled, and takes its time, too.
func TestPocketTellsWithoutTheLast(t *testing.T) {
	q, p := newQueueOf(100), newPlace()
	q.setBatchSize(maxBatch)
	worker := staff(q, 1)[0]
	var told []*handler.Delivery
	worker.ack = func(msgs []handler.Delivery) { told = append(told, pointers(msgs)...) }
	mustPut(t, q, p.messages(0, 3))
	take(q, worker, 3)
	mustPut(t, q, nil) // somebody looks whether anything waits
	wantNumbers(t, "told of", told)
	tick(q)
	wantNumbers(t, "told of after a while", told, 0, 1)
	q.close()
	wantNumbers(t, "told of after the close", told, 0, 1)
	if take(q, worker, 1)[0] != nil {
		t.Error("took something of a closed queue")
	}
	wantNumbers(t, "told of in the end", told, 0, 1, 2)
}

// TestPocketTellsOnce, whoever empties batches at the same time: of each message, and all are counted.
func TestPocketTellsOnce(t *testing.T) {
	const workers, messages = 4, 20000
	q, p := newQueueOf(messages), newPlace()
	batches := staff(q, workers)
	var told [messages]atomic.Int32
	var running, disturbing sync.WaitGroup
	for _, worker := range batches {
		worker.ack = func(msgs []handler.Delivery) {
			for i := range msgs {
				told[msgs[i].Attempts].Add(1)
			}
		}
		running.Go(func() {
			for i := 0; q.take(worker) != nil; i++ {
				if i%100 == 99 {
					worker.flushAcks() // in between
				}
			}
		})
	}
	stop := make(chan struct{})
	disturbing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			q.setBatchSize(maxBatch - i%3)
			tick(q)
		}
	})
	for first := 0; first < messages; first += 100 {
		mustPut(t, q, p.messages(first, 100))
	}
	for waiting(q) > 0 || idle(q) < workers {
		oldest(q)
	}
	q.close()
	running.Wait()
	close(stop)
	disturbing.Wait()
	finished := uint64(0)
	for _, worker := range batches {
		finished += worker.finished()
	}
	if finished != messages {
		t.Errorf("%d finished, want %d", finished, messages)
	}
	for i := range told {
		if n := told[i].Load(); n != 1 {
			t.Fatalf("told of message %d %d times", i, n)
		}
	}
}
