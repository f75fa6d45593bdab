package pool

// sleep blocks until the worker is woken. The caller holds mu.
func (q *queue) sleep(b *batch) {
	b.clear()
	q.busyTime.add(-1)
	q.asleep = append(q.asleep, b)
	for b.asleep = true; b.asleep; {
		b.wake.Wait()
	}
	if b.leaves { // see rest
		return
	}
	q.woken--
	q.busyTime.add(1)
}

// wake removes the worker that slept in last from the list of sleepers; the caller signals it. The
// caller holds mu.
func (q *queue) wake() *batch {
	last := len(q.asleep) - 1
	b := q.asleep[last]
	q.asleep = q.asleep[:last]
	b.asleep = false
	q.woken++
	return b
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
	return q.deque.n > 0 || q.reserved() > 0
}

// unlock unlocks mu, and wakes or starts a worker if a message waits and no worker is about to run.
func (q *queue) unlock() {
	var b *batch
	if q.woken == 0 && len(q.asleep)+q.missing() > 0 && q.ready() {
		if len(q.asleep) > 0 {
			b = q.wake()
		} else {
			q.start()
		}
	}
	q.mu.Unlock()
	if b != nil {
		b.wake.Signal()
	}
}
