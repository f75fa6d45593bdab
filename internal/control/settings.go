package control

// Start starts the workers.
func (c *Control) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pool.Resize(c.concurrency)
	c.running = true
	if c.paused {
		c.suspend()
	}
}

// Stop is for the drain: failures no longer count.
func (c *Control) Stop() {
	c.mu.Lock()
	c.running = false
	c.mu.Unlock()
}

// Pause lets no handler start, until Resume.
func (c *Control) Pause() {
	c.mu.Lock()
	c.paused = true
	if c.running { // else nothing waits, or the drain gives it back
		c.suspend()
	}
	c.mu.Unlock()
	c.Wake()
}

// Resume ends Pause.
func (c *Control) Resume() {
	c.mu.Lock()
	c.paused = false
	c.mu.Unlock()
	c.Wake()
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
type State struct {
	Concurrency, MaxInFlight int
	Paused                   bool
	BackoffLevel             int
}

// State returns the present settings.
func (c *Control) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Concurrency: c.concurrency, MaxInFlight: c.total, Paused: c.paused}
	if c.breaker != nil {
		s.BackoffLevel = c.breaker.Level()
	}
	return s
}
