package conn

import "time"

// Stats are the counters of a connection since the handshake, and its state at one instant.
type Stats struct {
	Addr     string        // as dialled
	Since    time.Time     // when the handshake was complete
	RTT      time.Duration // smallest recent round trip; 0 if too short to measure
	MaxRDY   int           // nsqd's max-rdy-count
	Quota    int           // most messages that may be in flight
	Window   int           // most messages requested beyond those in flight: 1 while the topic is quiet
	RDY      int           // last RDY written: Quota or InFlight + Window, whichever is less, + Allowance
	InFlight int           // received and not settled
	// Allowance is by how much nsqd's own count of the messages in flight is too high: RDY, which
	// nsqd compares with that count, is so much higher.
	Allowance int
	LastRead  time.Time // when anything was last read: a message, a heartbeat

	Published uint64 // messages confirmed by nsqd

	Received uint64 // messages
	Bytes    uint64 // of their bodies
	TooLarge uint64 // of the messages, those above MaxMessageSize, whose bodies were not read
	Finished uint64 // FIN
	Requeued uint64 // REQ
	Touched  uint64 // TOUCH
	Expired  uint64 // not answered because it was too late
	Lost     uint64 // not answered because the connection had ended
	Refused  uint64 // nsqd errors that did not end the connection
	Drifted  uint64 // times that nsqd was found to count too many messages in flight
	Probed   uint64 // times that RDY was raised for a moment to look for that

	Writes       uint64 // write calls
	BytesWritten uint64 // before compression
}

// Stats returns the connection's counters.
func (c *Conn) Stats() Stats {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	s, r := &o.stats, &o.rdy
	return Stats{
		Addr: c.addr, Since: c.terms.Start, RTT: r.window.RTT(), MaxRDY: r.max,
		Quota: r.quota, Window: r.window.Size(), RDY: r.inForce, InFlight: r.inFlight, Allowance: r.drift.Allowance(),
		LastRead:  c.terms.Start.Add(time.Duration(c.lastRead.Load())),
		Published: s.published,
		Received:  s.received, Bytes: s.bytesReceived, TooLarge: s.tooLarge,
		Finished: s.finished, Requeued: s.requeued, Touched: s.touched,
		Expired: s.expired, Lost: s.lost, Refused: s.refused, Drifted: r.drift.errors, Probed: r.drift.probed,
		Writes: s.writes, BytesWritten: s.bytesWritten,
	}
}
