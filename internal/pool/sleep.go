package pool

import "time"

// sleep blocks until the worker is woken. The caller holds mu.
func (q *queue) sleep(w *worker) {
	w.read, w.ctx = nil, nil // so that it keeps no settled message alive
	w.since = time.Time{}
	q.busyTime.add(-1, time.Now())
	q.asleep = append(q.asleep, w)
	for w.asleep = true; w.asleep; {
		w.wake.Wait()
	}
	if w.leaves { // see rest
		return
	}
	q.woken--
	q.busyTime.add(1, time.Now())
}

// wake removes the worker that slept in last from the list of sleepers; the caller signals it. The
// caller holds mu.
func (q *queue) wake() *worker {
	last := len(q.asleep) - 1
	w := q.asleep[last]
	q.asleep = q.asleep[:last]
	w.asleep = false
	q.woken++
	return w
}

// wakeAll wakes all workers that sleep. The caller holds mu.
func (q *queue) wakeAll() {
	for len(q.asleep) > 0 {
		q.wake().wake.Signal()
	}
}

// ready reports whether there is something for a worker. The caller holds mu.
func (q *queue) ready() bool {
	if q.group != nil {
		return q.groupReady()
	}
	q.left = q.left && q.deque.n > 0
	return q.left || q.deque.n > 0 && !q.readers.suffice(q.deque.n)
}

// unlock unlocks mu, and wakes or starts a worker if a message waits and no worker is about to run.
func (q *queue) unlock() {
	var w *worker
	if q.woken == 0 && q.running() < q.workers && len(q.asleep)+q.missing() > 0 && q.ready() {
		q.left = false
		if len(q.asleep) > 0 {
			w = q.wake()
		} else {
			q.start()
		}
	}
	q.mu.Unlock()
	if w != nil {
		w.wake.Signal()
	}
}
