package pool

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// TestAcks: finished messages are acked once, when nothing waits in the batch any more, even if another
// worker took it. A message that the worker has answered itself is not acked.
func TestAcks(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	q.setBatchSize(maxBatch)
	batches := newBatches(q, 2)
	worker := batches[0]
	var acked []*handler.Delivery
	worker.ack = func(msgs []handler.Delivery) { acked = append(acked, pointers(msgs)...) }
	check := func(what string, finished, last int) {
		t.Helper()
		wantNumbers(t, "acked "+what, acked, series(0, last)...)
		if n := worker.finished(); n != uint64(finished) {
			t.Errorf("%s: %d finished, want %d", what, n, finished)
		}
	}
	mustPut(t, q, src.messages(0, 40))
	take(q, worker, 3) // 3 … 19 are in the batch
	check("while more waits", 2, -1)
	q.setBatchSize(1) // reclaims what waits
	check("when the rest is reclaimed", 2, 1)
	take(q, worker, 1) // 3 alone
	check("alone in the batch", 3, 2)

	q.setBatchSize(maxBatch)
	take(q, worker, 2) // 4, and 5 … 19
	check("after a new batch", 5, 3)
	worker.detachCurrent()
	check("after 5 was detached", 5, 4)
	take(q, worker, 2) // 6, 7
	check("while 7 is current", 6, 4)
	reclaimBatches(q)
	wantNumbers(t, "acked after a tick", acked, 0, 1, 2, 3, 4, 6)
	if n, _ := worker.waiting(); n != 0 {
		t.Errorf("%d wait after a tick", n)
	}
	worker.flushAcks()
	worker.flushAcks()
	wantNumbers(t, "acked by the worker", acked, 0, 1, 2, 3, 4, 6, 7)
	q.close()
	if take(q, worker, 1)[0] != nil || worker.current() != nil || worker.finished() != 7 {
		t.Errorf("at the end: %v is current, %d finished", worker.current(), worker.finished())
	}
}

// TestAcksBehindLast: finished messages do not wait for the last message of their batch.
func TestAcksBehindLast(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	q.setBatchSize(maxBatch)
	worker := newBatches(q, 1)[0]
	var acked []*handler.Delivery
	worker.ack = func(msgs []handler.Delivery) { acked = append(acked, pointers(msgs)...) }
	mustPut(t, q, src.messages(0, 3))
	take(q, worker, 3)
	mustPut(t, q, nil)
	check.Want(t, "waiting", waiting(q), 0) // looks into batches
	wantNumbers(t, "acked", acked)
	reclaimBatches(q)
	wantNumbers(t, "acked after a tick", acked, 0, 1)
	q.close()
	wantNumbers(t, "acked after close", acked, 0, 1)
	if take(q, worker, 1)[0] != nil {
		t.Error("took a message from a closed queue")
	}
	wantNumbers(t, "acked by the worker", acked, 0, 1, 2)
}

// TestAcksOnce: each message is acked once and counted once while batches are reclaimed concurrently.
func TestAcksOnce(t *testing.T) {
	const workers, messages = 4, 20000
	q, src := newQueueOf(messages), newSource()
	batches := newBatches(q, workers)
	var acked [messages]atomic.Int32
	var running, disturbing sync.WaitGroup
	for _, worker := range batches {
		worker.ack = func(msgs []handler.Delivery) {
			for i := range msgs {
				acked[msgs[i].Attempts].Add(1)
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
			reclaimBatches(q)
		}
	})
	for first := 0; first < messages; first += 100 {
		mustPut(t, q, src.messages(first, 100))
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
	for i := range acked {
		if n := acked[i].Load(); n != 1 {
			t.Fatalf("message %d was acked %d times", i, n)
		}
	}
}

// TestCursor: each step on a cursor with 2 acked messages, 2 finished, the current one and 3 that wait.
func TestCursor(t *testing.T) {
	start := cursor{acked: 2, next: 5, end: 8, count: 4}
	check.Want(t, "unpacked", unpack(start.pack()), start)
	largest := cursor{1<<16 - 1, 1<<16 - 1, 1<<16 - 1, 1<<16 - 1}
	check.Want(t, "the largest, unpacked", unpack(largest.pack()), largest)
	check.Want(t, "unacked", start.unacked(), true)
	check.Want(t, "unacked, without finished ones", cursor{acked: 4, next: 5, end: 8}.unacked(), false)
	check.Want(t, "unacked, empty", cursor{}.unacked(), false)
	for name, tt := range map[string]struct {
		step     func(cursor) cursor
		from, is cursor
	}{
		"ackAll":                {ackAll, start, cursor{5, 5, 8, 5}},
		"ackAll, answered":      {ackAll, cursor{5, 5, 8, 5}, cursor{5, 5, 8, 5}},
		"ackAll, empty":         {ackAll, cursor{}, cursor{}},
		"detach":                {detach, start, cursor{5, 5, 8, 4}},
		"detach, answered":      {detach, cursor{5, 5, 8, 4}, cursor{5, 5, 8, 4}},
		"keepCurrent":           {keepCurrent, start, cursor{4, 5, 5, 4}},
		"keepCurrent, answered": {keepCurrent, cursor{5, 5, 8, 4}, cursor{5, 5, 5, 4}},
		"keepCurrent, empty":    {keepCurrent, cursor{}, cursor{}},
	} {
		b := new(batch)
		b.cursor.Store(tt.from.pack())
		was, is := b.step(tt.step)
		if was != tt.from || is != tt.is || unpack(b.cursor.Load()) != tt.is {
			t.Errorf("%s: from %+v to %+v, want %+v to %+v", name, was, is, tt.from, tt.is)
		}
	}
}

// TestClear: an empty batch keeps no message alive and keeps its count.
func TestClear(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	q.setBatchSize(maxBatch)
	worker := newBatches(q, 1)[0]
	mustPut(t, q, src.messages(0, 3))
	worker.inTime(take(q, worker, 3)[2])
	worker.flushAcks()
	worker.clear()
	if worker.msgs != nil || worker.seen != nil || worker.read != nil || worker.ctx != nil || worker.current() != nil {
		t.Error("the batch is not empty")
	}
	check.Want(t, "finished", worker.finished(), 3)
	worker.clear()
	check.Want(t, "finished after another clear", worker.finished(), 3)
}

// TestInTime: a message is in time until its context ends. Messages of one read share one look at the
// clock.
func TestInTime(t *testing.T) {
	for name, tt := range map[string]struct {
		then func(src *source, m *handler.Delivery)
		want bool
	}{
		"at once":            {func(*source, *handler.Delivery) {}, true},
		"in time":            {func(*source, *handler.Delivery) { time.Sleep(58 * time.Second) }, true},
		"in the last second": {func(*source, *handler.Delivery) { time.Sleep(59 * time.Second) }, false},
		"too late":           {func(*source, *handler.Delivery) { time.Sleep(time.Hour) }, false},
		"source ended":       {func(src *source, _ *handler.Delivery) { src.end(handler.ErrShutdown) }, false},
		"TOUCH was refused":  {func(_ *source, m *handler.Delivery) { m.Expire() }, false},
		"own context":        {func(_ *source, m *handler.Delivery) { m.Context() }, true},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			src := newSource()
			defer src.end(nil)
			m := &src.messages(1, 1)[0]
			tt.then(src, m)
			check.Want(t, "in time", new(batch).inTime(m), tt.want)
			m.Release()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		src := newSource()
		defer src.end(nil)
		msgs := make([]handler.Delivery, 4)
		read := &handler.Read{Source: src, At: src.terms.Now()}
		for i := range msgs {
			msgs[i].Init(read, handler.ID{}, 1, 0, nil)
		}
		b := new(batch)
		check.Want(t, "first", b.inTime(&msgs[0]), true)
		time.Sleep(2 * time.Minute)
		check.Want(t, "second, by the same look at the clock", b.inTime(&msgs[1]), true)
		b.clear()
		check.Want(t, "third, in a new batch", b.inTime(&msgs[2]), false)
		src.end(handler.ErrConnLost)
		check.Want(t, "fourth, of an ended source", b.inTime(&msgs[3]), false)
	})
}
