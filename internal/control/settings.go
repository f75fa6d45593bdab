package control

// Start starts the workers.
func (c *Control) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = true
	c.obey() // before a worker takes what has come already
	c.pool.Resize(c.concurrency)
}

// Stop is for the drain, which gives back what waits.
func (c *Control) Stop() {
	c.mu.Lock()
	c.running = false
	c.mu.Unlock()
}

// SetConcurrency changes the number of workers, at least 1.
func (c *Control) SetConcurrency(n int) {
	c.mu.Lock()
	c.concurrency = n
	if c.running {
		c.pool.Resize(n)
	}
	c.mu.Unlock()
	c.Wake()
}

// SetMaxInFlight changes how many messages may be in flight; 0 is automatic.
func (c *Control) SetMaxInFlight(n int) {
	c.mu.Lock()
	c.fixed, c.restraint = n, restraint{}
	c.mu.Unlock()
	c.Wake()
}

// Stuck reports whether every handler works on a message that nsqd has given to others.
func (c *Control) Stuck() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.overdue >= c.concurrency
}

// State is what Stats show of a Control.
type State struct{ Concurrency, MaxInFlight int }

// State returns the present settings.
func (c *Control) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return State{Concurrency: c.concurrency, MaxInFlight: c.total}
}
