package consume

import (
	"slices"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// Stats returns the consumer's counters and state.
func (c *Consumer) Stats() observe.Stats {
	state, snapshot, n := c.control.State(), c.pool.Snapshot(), c.pool.Counts()
	level, since, err := c.breaker.State()
	s := observe.Stats{
		Topic: c.cfg.Sub.Topic, Channel: c.cfg.Sub.Channel,

		Concurrency: state.Concurrency, MaxInFlight: state.MaxInFlight, Paused: c.pause.Paused(),
		Backoff: level > 0, BackoffLevel: level, BackoffSince: since, BackoffErr: err,
		Running: snapshot.Busy(), Unanswered: len(snapshot.Parked), Queued: snapshot.Waiting,

		Finished: n[handler.Finish], Requeued: n[handler.Requeue], Dropped: n[handler.Drop], DeadLettered: n[handler.DeadLetter],
		Skipped: n[handler.Skip], Interrupted: n[handler.Interrupted], Expired: n[handler.Expired], Lost: n[handler.Lost],

		GivenBack: snapshot.GivenBack, Early: snapshot.Early, Stale: c.stale.Load(), EnvelopesSkipped: c.dead.Skipped(), EventsDropped: c.events.Dropped(),
		Connections: c.links.Stats(), Lookups: c.discovery.Stats(),
	}
	addInProgress(&s, snapshot.Running)
	return s
}

// maxInProgress bounds Stats.InProgress.
const maxInProgress = 64

// addInProgress adds what handlers work on.
func addInProgress(s *observe.Stats, running []*handler.Delivery) {
	for _, d := range running {
		if !d.Answerable() {
			s.Overdue++
		}
		s.HighestAttempt = max(s.HighestAttempt, deliveries(d))
		s.OldestAge = max(s.OldestAge, notify.Age(d))
	}
	slices.SortFunc(running, func(a, b *handler.Delivery) int { return a.Received().Compare(b.Received()) })
	for _, d := range running[:min(len(running), maxInProgress)] {
		s.InProgress = append(s.InProgress, observe.InProgress{
			ID: d.ID, NSQD: d.NSQD(), Age: time.Since(d.Received()), Attempt: deliveries(d), Overdue: !d.Answerable(),
		})
	}
}
