package nsqotel

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ageInterval is the time between messages of which the age is recorded, without WithEveryAge.
const ageInterval = 10 * time.Millisecond

// inbound holds what the metrics of messages share: those of one nsqd if metrics have its address,
// else all of a consumer.
type inbound struct {
	*consumer
	nsqd     string // "" if metrics do not have the address
	plain    measurement
	finished *result               // without an error: most messages
	tally    atomic.Pointer[tally] // counts finished; nil if there are too many tallies
	results  *table[resultKey, *result]

	since time.Time
	aged  atomic.Int64 // when an age is to be recorded next, in ns after since
}

type resultKey struct {
	disposition handler.Disposition
	errorType   string
}

// result holds the attributes of messages with the same disposition and error type.
type result struct{ process, settlement measurement }

func (c *consumer) newInbound(nsqd string) *inbound {
	in := &inbound{consumer: c, nsqd: c.server(nsqd), since: time.Now(), plain: newMeasurement(c.metricAttributes(c.dest, nsqd)...)}
	in.results = newTable(in.result)
	in.finished = in.results.get(resultKey{disposition: handler.Finish})
	in.newTally()
	return in
}

func (in *inbound) result(key resultKey) *result {
	attrs := in.metricAttributes(in.dest, in.nsqd)
	if key.errorType != "" {
		attrs = append(attrs, keyErrorType.String(key.errorType))
	}
	attrs = slices.Clip(attrs)
	return &result{
		process:    newMeasurement(append(attrs, keyOperation.String(processOperation))...),
		settlement: newMeasurement(append(attrs, keyDisposition.String(key.disposition.String()))...),
	}
}

func (in *inbound) newTally() *tally {
	t := in.tallies.of(tallyKey{in.dest, in.nsqd}, *in.finished)
	in.tally.Store(t)
	return t
}

// count counts a finished message. It returns false if there are too many tallies.
func (in *inbound) count() bool {
	t := in.tally.Load()
	if t == nil {
		return false
	}
	if t.add() {
		return true
	}
	t = in.newTally() // it was dropped while no message came
	return t != nil && t.add()
}

// ageDue reports whether to record the age of a message that is handled now. It allocates nothing and
// takes no lock.
func (in *inbound) ageDue(now time.Time) bool {
	if in.cfg.everyAge {
		return true
	}
	at, next := int64(now.Sub(in.since)), in.aged.Load()
	return at >= next && in.aged.CompareAndSwap(next, at+int64(ageInterval))
}
