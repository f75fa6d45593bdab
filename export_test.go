package nsqx

// What tests of the whole consumer see of its workers.

func (c *Consumer[T]) SetWorkers(n int) { c.e.workers.setConcurrency(n) }
func (c *Consumer[T]) SetBatch(n int)   { c.e.queue.setBatch(n) }
func (c *Consumer[T]) Busy() int        { return c.e.workers.busy() }
func (c *Consumer[T]) Idle() int        { return c.e.queue.idle() }
func (c *Consumer[T]) Results() uint64  { return c.e.workers.results() }

// Workers is how many have not ended.
func (c *Consumer[T]) Workers() int {
	c.e.workers.mu.Lock()
	defer c.e.workers.mu.Unlock()
	return len(c.e.workers.all)
}
