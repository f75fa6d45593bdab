package consume

import (
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// Stats returns the consumer's counters and state.
func (c *Consumer) Stats() observe.Stats {
	state, snapshot, n := c.control.State(), c.pool.Snapshot(), c.pool.Counts()
	return observe.Stats{
		Topic: c.cfg.Sub.Topic, Channel: c.cfg.Sub.Channel,

		Concurrency: state.Concurrency, MaxInFlight: state.MaxInFlight, Paused: state.Paused,
		Backoff: state.BackoffLevel > 0, BackoffLevel: state.BackoffLevel,
		BackoffSince: state.BackoffSince, BackoffErr: state.BackoffErr,
		Running: snapshot.Busy(), Unanswered: len(snapshot.Parked), Queued: snapshot.Waiting,

		Finished: n[handler.Finish], Requeued: n[handler.Requeue], Dropped: n[handler.Drop], DeadLettered: n[handler.DeadLetter],
		Skipped: n[handler.Skip], Interrupted: n[handler.Interrupted], Expired: n[handler.Expired], Lost: n[handler.Lost],

		GivenBack: snapshot.GivenBack, Early: snapshot.Early, Stale: c.stale.Load(), EnvelopesSkipped: c.dead.Skipped(), EventsDropped: c.events.Dropped(),
		Connections: c.links.Stats(), Lookups: c.discovery.Stats(),
	}
}
