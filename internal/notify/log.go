package notify

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// journal makes lines of events: of transitions, not of attempts. What goes on is said once a
// minute. Only the goroutine of events uses it, and its state is bounded. It changes its state before
// it writes, since the logger may end the goroutine.
type journal struct {
	logger    *slog.Logger
	publishes bool                          // of a publisher
	connected func() (connected, known int) // nsqds of this moment; nil: unknown
	confirmed func(addr string) uint64      // messages that an nsqd has confirmed; nil: unknown
	search    searchTexts
	stopped   bool // a line has said that no nsqd is connected

	nsqds   outages[string]      // by address
	silent  map[string]time.Time // begin of outages that nobody is told of any more, by address
	sources outages[int]         // by index
	named   topicState
	namedAt time.Time // when it changed

	opened, stillOpen time.Time // when the breaker opened, and of the last line about it
	probes            int       // since it opened

	refusals  map[string]*refusal // of publishes, by address
	givenBack map[string]*episode // by reason
	bursts    map[string]*burst   // by text
	failing   []*failureKind      // kinds of failures that go on
	dropped   uint64              // events, when last looked at
}

func newJournal(logger *slog.Logger, topic string) journal {
	j := journal{
		logger: logger, search: ofTopic,
		silent: make(map[string]time.Time), refusals: make(map[string]*refusal), givenBack: make(map[string]*episode), bursts: make(map[string]*burst),
	}
	if topic == "" {
		j.search, j.publishes = ofAny, true
	}
	return j
}

// handle logs an event, if it is a transition.
func (j *journal) handle(ev *Event) {
	switch ev.Kind {
	case Connect:
		j.up(ev)
	case Disconnect:
		if ev.Err == nil { // in the drain, or after it was replaced
			j.write(slog.LevelDebug, "disconnected", slog.String("nsqd", ev.NSQD))
			return
		}
		if j.publishes && j.refusal(ev) {
			return
		}
		j.down(ev, "connection lost")
	case DialError:
		j.down(ev, "cannot connect")
	case UnnamedDialError:
		j.unnamed(ev)
	case Refused:
		j.say(ev.Time, slog.LevelWarn, "nsqd refused an answer: the message timed out, or the channel was emptied; see WithMessageTimeout",
			slog.String("nsqd", ev.NSQD), slog.Any("error", ev.Err))
	case Lookup:
		j.lookup(ev)
	case Register:
		j.register(ev)
	case Backoff:
		j.breaker(ev)
	case GivenBack:
		j.gaveBack(ev)
	case Drift:
		j.drift(ev)
	case failed:
		j.begin(ev)
	default:
		j.aboutHandlers(ev)
	}
}

// drift tells of a wrong count of nsqd.
func (j *journal) drift(ev *Event) {
	attrs := []slog.Attr{slog.String("nsqd", ev.NSQD), slog.Int("allowance", ev.Allowance)}
	if ev.Err != nil {
		attrs = append(attrs, slog.Any("error", ev.Err))
	}
	if ev.Renewed {
		j.say(ev.Time, slog.LevelInfo, "connection is replaced: nsqd's count of its messages in flight is wrong, or may be", attrs...)
		return
	}
	j.say(ev.Time, slog.LevelWarn, "nsqd counts more messages in flight than there are: RDY allows for it", attrs...)
}

// breaker tells of the breaker of a consumer.
func (j *journal) breaker(ev *Event) {
	attrs := []slog.Attr{slog.Int("failed", ev.Failed), slog.Int("results", ev.Results)}
	if ev.Err != nil {
		attrs = append(attrs, slog.Any("error", ev.Err))
	}
	opened := Seconds("open_seconds", ev.Time.Sub(ev.Since))
	switch {
	case ev.State == observe.BackoffProbe:
		j.write(slog.LevelDebug, "breaker: one message may try", opened)
	case ev.State == observe.BackoffClosed:
		j.say(ev.Time, slog.LevelInfo, "breaker closes: messages are handled again", opened, slog.Int("probes", j.probes))
	case !ev.Since.Equal(j.opened):
		j.opened, j.stillOpen, j.probes = ev.Since, ev.Time, 1
		j.say(ev.Time, slog.LevelWarn, "breaker opens: nearly all messages fail, and none is requested until one may try; see WithBackoff",
			append(attrs, Seconds("retry_seconds", ev.Retry))...)
	default:
		level, text := slog.LevelDebug, "breaker opens again"
		if j.probes++; ev.Time.Sub(j.stillOpen) >= repeat {
			level, text, j.stillOpen = slog.LevelWarn, "breaker is still open: the messages that tried have failed", ev.Time
		}
		j.write(level, text, append(attrs, slog.Time("since", ev.Since), slog.Int("probes", j.probes-1), Seconds("retry_seconds", ev.Retry))...)
	}
}

// aboutHandlers tells of handlers that outlive their messages, and of the drain.
func (j *journal) aboutHandlers(ev *Event) {
	running := slog.Int("running", ev.Found)
	switch ev.Kind {
	case Overdue:
		j.say(ev.Time, slog.LevelWarn, "handler outlives its message: nsqd may deliver it elsewhere; see WithMessageTimeout, middleware.Timeout, middleware.AutoTouch", ev.message()...)
	case StillOverdue:
		j.write(slog.LevelWarn, "handler still outlives its message", withOthers(ev.message(), ev.Found-1)...)
	case Returned:
		j.say(ev.Time, slog.LevelInfo, "handler that outlived its message has returned", ev.message()...)
	case Spared:
		j.say(ev.Time, slog.LevelWarn, "messages without attempts left are not given up, since all of the last ones have failed; see WithMaxAttempts", slog.Any("error", ev.Err))
	case BytesCut:
		j.write(slog.LevelWarn, "fewer messages are in flight than are asked for, since bodies are large, said once; see WithMaxInFlightBytes",
			slog.Int("messages", ev.Found), slog.Int("wanted", ev.Results))
	case DelayCut:
		j.write(slog.LevelWarn, "delay of a message was cut to the longest that nsqd takes by default, said once; see WithMaxRequeueDelay",
			Seconds("wanted_seconds", ev.Took), Seconds("delay_seconds", ev.Retry))
	case SmallBatches:
		j.write(slog.LevelWarn, "batches stay below their size, said once: no more messages may be in flight; see WithBatch, WithMaxInFlight, nsqd's --max-rdy-count",
			slog.Int("size", ev.Named), slog.Int("messages", ev.Found))
	case Draining:
		j.write(slog.LevelInfo, "drain begins: no message is requested, and running handlers may finish",
			slog.String("reason", ev.Reason), running, Seconds("timeout_seconds", ev.Took))
	case StillDrains:
		j.write(slog.LevelInfo, "drain waits for handlers", append([]slog.Attr{running, Seconds("remaining_seconds", ev.Took)}, ev.message()...)...)
	case Drained:
		attrs := append([]slog.Attr{Seconds("duration_seconds", ev.Took)}, ev.settled()...)
		if ev.Err != nil {
			j.write(slog.LevelWarn, "drain is over, and incomplete; see WithShutdownTimeout", append(attrs, running, slog.Any("error", ev.Err))...)
			return
		}
		j.write(slog.LevelInfo, "drain is complete", attrs...)
	}
}

// settled returns the attributes of what became of messages in the drain.
func (e *Event) settled() []slog.Attr {
	n := e.Settled
	attrs := []slog.Attr{slog.Uint64("finished", n[handler.Finish]), slog.Uint64("requeued", n[handler.Requeue]+n[handler.Interrupted])}
	if given := n[handler.DeadLetter] + n[handler.Drop]; given > 0 {
		attrs = append(attrs, slog.Uint64("given_up", given))
	}
	if lost := n[handler.Lost] + n[handler.Expired]; lost > 0 {
		attrs = append(attrs, slog.Uint64("unanswered", lost))
	}
	return attrs
}

// message returns the attributes of the event's message.
func (e *Event) message() []slog.Attr {
	return []slog.Attr{
		slog.String("nsqd", e.NSQD), slog.String("msg.id", e.Message.String()), slog.Int("msg.attempts", e.Attempts), Seconds("age_seconds", e.MsgAge), slog.Time("since", e.Since),
	}
}

// withOthers adds the number of other handlers.
func withOthers(attrs []slog.Attr, n int) []slog.Attr {
	if n > 0 {
		return append(attrs, slog.Int("others", n))
	}
	return attrs
}

// say writes a line, or holds it if there are too many with this text.
func (j *journal) say(now time.Time, level slog.Level, text string, attrs ...slog.Attr) {
	b := j.bursts[text]
	if b == nil {
		b = new(burst)
		j.bursts[text] = b
	}
	if b.allow(now, line{level: level, text: text, attrs: attrs}) {
		j.write(level, text, attrs...)
		return
	}
	j.write(slog.LevelDebug, text, attrs...)
}

func (j *journal) write(level slog.Level, text string, attrs ...slog.Attr) {
	j.writeLine(line{level: level, text: text, attrs: attrs})
}

func (j *journal) writeLine(l line) {
	if l.ctx == nil {
		l.ctx = context.Background()
	}
	j.logger.LogAttrs(l.ctx, l.level, "nsqx: "+l.text, l.attrs...)
}

// next returns how long until tick has something to do; ok is false if it has nothing.
func (j *journal) next(now time.Time) (wait time.Duration, ok bool) {
	first := func(at time.Time) {
		if d := max(at.Sub(now), 0); !ok || d < wait {
			wait, ok = d, true
		}
	}
	for _, b := range j.bursts {
		if at, held := b.due(); held {
			first(at)
		}
	}
	for _, e := range j.givenBack {
		first(e.last.Add(repeat))
	}
	for _, r := range j.refusals {
		first(r.last.Add(repeat))
	}
	for _, k := range j.failing {
		first(k.due())
	}
	return wait, ok
}

// tick writes what is due; all that is held if the service ends.
func (j *journal) tick(now time.Time, ends bool) {
	j.endEpisodes(now, ends)
	j.endRefusals(now, ends)
	for _, b := range j.bursts {
		if at, held := b.due(); held && (ends || !now.Before(at)) {
			j.writeLine(j.recount(b.take(now)))
		}
	}
	j.tickFailures(now, ends)
}

// drops tells of events that were dropped.
func (j *journal) drops(now time.Time, n uint64) {
	if more := n - j.dropped; more > 0 {
		j.dropped = n
		j.say(now, slog.LevelWarn, "events were dropped: a hook or the logger is too slow; lines and calls of hooks are missing", slog.Uint64("events", more))
	}
}

// Seconds is a duration as an attribute, in seconds with three decimals.
func Seconds(key string, d time.Duration) slog.Attr {
	return slog.Float64(key, math.Round(d.Seconds()*1000)/1000)
}
