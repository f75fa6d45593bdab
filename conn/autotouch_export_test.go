package conn

// Scheduled says how many messages are kept touched, and whether the timer is set.
func (c *Conn) Scheduled() (messages int, timer bool) {
	s := &c.schedule
	s.mu.Lock()
	defer s.mu.Unlock()
	if timer = s.timer != nil && s.timer.Stop(); timer {
		s.timer.Reset(s.at - s.terms.Now())
	}
	return len(s.queue), timer
}

// Touched says how many messages are remembered because they were touched.
func (c *Conn) Touched() (messages int) {
	c.touched.mu.Lock()
	defer c.touched.mu.Unlock()
	for _, msgs := range c.touched.byID {
		messages += len(msgs)
	}
	return messages
}
