package nsqx

import (
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// Stats are a consumer's counters since it was made, and its state at about one
// instant.
type Stats struct {
	Topic, Channel string

	Concurrency int  // most handlers at once
	MaxInFlight int  // most messages in flight, over all connections, at this time
	Running     int  // handlers that run
	Queued      int  // messages received that wait for a handler
	Paused      bool // by Pause
	Backoff     bool // nearly all messages have failed: see Backoff

	// BackoffLevel is how many times in a row nearly all have failed: each doubles
	// the delay, until it is the longest. 0 unless Backoff is set.
	BackoffLevel int

	// Deliveries by what became of them; see Consumer for what each means.
	// Those that no handler saw are among Interrupted, Expired and Lost.
	Finished, Requeued, Dropped, DeadLettered uint64
	Interrupted, Expired, Lost                uint64

	// EnvelopesSkipped counts dead letters that went out without their headers, because
	// they would have become too large for nsqd.
	EnvelopesSkipped uint64

	EventsDropped uint64 // log records and hook calls that a slow hook has cost

	Connections []ConnStats   // one for each address: those of WithNSQD, then as they were found
	Lookups     []LookupStats // one for each nsqlookupd and Discoverer, in the order of the options
}

// LookupStats is what became of asking one nsqlookupd or [Discoverer].
type LookupStats struct {
	Name          string // its address, or its Go type
	Polls, Errors uint64
	Found         int       // addresses in the last good answer
	LastPoll      time.Time // when it answered or failed last
	LastErr       error     // what was wrong then; nil if nothing was

	answered bool
}

// ConnStats are the counters of an address, over all its connections.
type ConnStats struct {
	conn.Stats

	Connected bool      // subscribed at this instant
	Dials     uint64    // attempts to connect
	LastErr   error     // of the last attempt or connection that failed; nil when connected
	RetryAt   time.Time // next dial; the zero time when connected
}

func (e *engine) stats() Stats {
	s := Stats{
		Topic: e.cfg.sub.Topic, Channel: e.cfg.sub.Channel,
		Running: e.workers.busy(), Queued: e.queue.waiting(),
		EnvelopesSkipped: e.publishing.skipped.Load(),
		EventsDropped:    e.events.dropped.Load(), Lookups: e.discovery.stats(),
	}
	s.Concurrency, s.MaxInFlight, s.Paused, s.BackoffLevel = e.control.state()
	s.Backoff = s.BackoffLevel > 0
	n := e.workers.counts()
	s.Finished, s.Requeued, s.Dropped, s.DeadLettered = n[handler.Finish], n[handler.Requeue], n[handler.Drop], n[handler.DeadLetter]
	s.Interrupted, s.Expired, s.Lost = n[handler.Interrupted], n[handler.Expired], n[handler.Lost]

	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.links {
		s.Connections = append(s.Connections, l.stats())
	}
	return s
}

// stats adds up an address. The caller holds e.mu.
func (l *link) stats() ConnStats {
	s := ConnStats{Stats: l.lastStats, Connected: l.conn != nil, Dials: l.dials, LastErr: l.lastErr}
	s.Addr = l.addr
	if l.conn != nil {
		s.Stats = addStats(l.lastStats, l.conn.Stats())
	} else {
		s.RetryAt = l.retryAt
	}
	return s
}

// pastStats is what remains of the connections that have ended.
func pastStats(past, ended conn.Stats) conn.Stats {
	s := addStats(past, ended)
	s.Quota, s.Window, s.RDY, s.InFlight = 0, 0, 0, 0
	return s
}

// addStats adds the counters of past connections to the state of a later one.
func addStats(past, s conn.Stats) conn.Stats {
	s.Published += past.Published
	s.Received += past.Received
	s.Bytes += past.Bytes
	s.Finished += past.Finished
	s.Requeued += past.Requeued
	s.Touched += past.Touched
	s.Expired += past.Expired
	s.Lost += past.Lost
	s.Refused += past.Refused
	s.Writes += past.Writes
	s.BytesWritten += past.BytesWritten
	return s
}
