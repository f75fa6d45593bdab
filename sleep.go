package nsqx

// sleep waits until the worker is woken. The caller holds mu.
func (q *queue) sleep(p *pocket) {
	p.clear()
	q.clock.add(-1)
	q.asleep = append(q.asleep, p)
	for p.asleep = true; p.asleep; {
		p.wake.Wait()
	}
	q.woken--
	q.clock.add(1)
}

// rouse takes who slept in last off the list of sleepers; it is to be signalled.
// The caller holds mu.
func (q *queue) rouse() *pocket {
	last := len(q.asleep) - 1
	p := q.asleep[last]
	q.asleep = q.asleep[:last]
	p.asleep = false
	q.woken++
	return p
}

// rouseAll wakes all workers that sleep. The caller holds mu.
func (q *queue) rouseAll() {
	for len(q.asleep) > 0 {
		q.rouse().wake.Signal()
	}
}

// unlock unlocks mu, and wakes a worker if something waits for it and none is on
// its way.
func (q *queue) unlock() {
	var p *pocket
	if len(q.asleep) > 0 && q.woken == 0 && (q.ring.n > 0 || q.inPockets() > 0) {
		p = q.rouse()
	}
	q.mu.Unlock()
	if p != nil {
		p.wake.Signal()
	}
}
