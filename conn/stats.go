package conn

import "time"

// Stats are the counters of a connection since it was made, and its state at
// one instant.
type Stats struct {
	Addr     string        // as dialled
	Since    time.Time     // when the handshake was complete
	RTT      time.Duration // smallest round trip seen in the handshake
	MaxRDY   int           // nsqd's max-rdy-count
	Share    int           // most messages that may be in flight
	RDY      int           // last RDY written
	InFlight int           // received and not settled

	Received uint64 // messages
	Finished uint64 // FIN
	Requeued uint64 // REQ
	Touched  uint64 // TOUCH
	Expired  uint64 // not answered, because it was too late
	Lost     uint64 // not answered, because the connection was gone
	Refused  uint64 // errors of nsqd that did not end the connection

	Writes       uint64 // write calls
	BytesWritten uint64 // before compression
}

// Stats returns the connection's counters.
func (c *Conn) Stats() Stats {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.stats
	return Stats{
		Addr: c.addr, Since: c.terms.Start, RTT: c.tr.rtt, MaxRDY: o.maxRDY,
		Share: o.share, RDY: o.rdy, InFlight: o.inFlight,
		Received: s.received, Finished: s.finished, Requeued: s.requeued, Touched: s.touched,
		Expired: s.expired, Lost: s.lost, Refused: s.refused,
		Writes: s.writes, BytesWritten: s.bytesWritten,
	}
}
