// Package notify carries the events of a service to its log and its hooks.
package notify

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

// backlog is the number of events that may wait.
const backlog = 128

// Queue carries events to a goroutine that logs them and calls hooks, both of which are user code
// and may be slow. There is one only while an event waits or a line of the log is due.
type Queue struct {
	logger         *slog.Logger
	topic, channel string // of each event
	hooks          []observe.Hooks
	settle         []func(*handler.Message)
	events         chan *Event // pointers, since the queue is nearly always empty
	dropped        atomic.Uint64
	failures       failures
	journal        journal
	started        atomic.Bool
	running        atomic.Bool   // there is a goroutine, or there will be none any more
	quit           chan struct{} // closed by Close
	done           chan struct{} // closed when the last goroutine has ended
}

// New returns a queue for the events of a service. topic and channel are put into each event.
func New(logger *slog.Logger, topic, channel string, hooks []observe.Hooks) *Queue {
	q := &Queue{
		logger: logger, topic: topic, channel: channel,
		hooks: hooks, events: make(chan *Event, backlog), quit: make(chan struct{}), done: make(chan struct{}),
		journal: newJournal(logger, topic),
	}
	for _, h := range hooks {
		if h.OnSettle != nil {
			q.settle = append(q.settle, h.OnSettle)
		}
	}
	return q
}

// Post queues an event. It never waits: an event for which there is no room is counted.
func (q *Queue) Post(ev Event) { q.post(&ev) }

// post is Post. It returns false if there is no room.
func (q *Queue) post(ev *Event) bool {
	ev.Time, ev.Topic, ev.Channel = time.Now(), q.topic, q.channel
	select {
	case q.events <- ev:
		q.rouse()
		return true
	default:
		q.dropped.Add(1)
		return false
	}
}

// Conn queues an event of a connection.
func (q *Queue) Conn(kind Kind, addr string, err error, retry time.Duration) {
	q.Post(Event{Kind: kind, ConnEvent: observe.ConnEvent{NSQD: addr, Err: err, Retry: retry}})
}

// Dropped returns how many events found no room.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Connected sets the function that says how many nsqds are connected, and of how many, for the log. It
// is called by the goroutine of events. Connected must be called before Start.
func (q *Queue) Connected(n func() (connected, known int)) { q.journal.connected = n }

// Confirmed sets the function that says how many messages an nsqd has confirmed, for the log. It is
// called as that of Connected is.
func (q *Queue) Confirmed(n func(addr string) uint64) { q.journal.confirmed = n }

// Start begins to handle events, until Close.
func (q *Queue) Start() {
	q.started.Store(true)
	q.rouse()
}

// rouse starts the goroutine unless there is one.
func (q *Queue) rouse() {
	if q.started.Load() && q.running.CompareAndSwap(false, true) {
		go q.run()
	}
}

// run handles events until there is nothing to do. If user code calls runtime.Goexit, another goroutine
// continues.
func (q *Queue) run() {
	returned := false
	defer func() {
		if returned {
			return
		}
		defer func() { go q.run() }()                                      // even if the logger calls runtime.Goexit, too
		q.logger.Error("nsqx: a hook or the logger called runtime.Goexit") // not held: the line itself may end the goroutine
	}()
	for {
		last := q.closed() // then next finds all that was posted before
		for ev := q.next(); ev != nil; ev = q.next() {
			q.journal.handle(ev)
			for _, h := range q.hooks {
				q.tell(h, ev)
			}
			q.journal.drops(ev.Time, q.Dropped())
		}
		if last {
			q.journal.tick(time.Now(), true)
			close(q.done)
			break
		}
		q.running.Store(false)
		if len(q.events) == 0 && !q.closed() || !q.running.CompareAndSwap(false, true) {
			break // who posts or closes from now on starts another goroutine
		}
	}
	returned = true
}

func (q *Queue) closed() bool {
	select {
	case <-q.quit:
		return true
	default:
		return false
	}
}

// next returns the next event. While lines are due later it blocks, and writes them in time. It returns
// nil if no event waits, and none is due or Close was called.
func (q *Queue) next() *Event {
	for {
		now := time.Now()
		wait, ok := q.journal.next(now)
		if ok && wait <= 0 {
			q.journal.tick(now, false)
			continue
		}
		if !ok || q.closed() {
			select {
			case ev := <-q.events:
				return ev
			default:
				return nil
			}
		}
		timer := time.NewTimer(wait)
		select {
		case ev := <-q.events:
			timer.Stop()
			return ev
		case <-timer.C:
		case <-q.quit:
			timer.Stop()
		}
	}
}

// Close ends the goroutine after the events that wait, and waits for it until the deadline. What is
// posted later is lost: a handler may outlive its consumer. It returns false if the goroutine still
// runs. Close must be called once.
func (q *Queue) Close(deadline time.Time) bool {
	close(q.quit)
	q.rouse()
	return guard.Closed(q.done, time.Until(deadline))
}

// tell calls the hook for an event.
func (q *Queue) tell(h observe.Hooks, ev *Event) {
	switch ev.Kind {
	case Connect:
		call(q, h.OnConnect, ev.ConnEvent)
	case Disconnect:
		call(q, h.OnDisconnect, ev.ConnEvent)
	case DialError, UnnamedDialError:
		call(q, h.OnDialError, ev.ConnEvent)
	case Refused:
		call(q, h.OnRefused, ev.ConnEvent)
	case Lookup:
		call(q, h.OnLookup, observe.LookupEvent{
			Source: ev.Source, Topic: ev.Topic, Channel: ev.Channel, Time: ev.Time, Found: ev.Found, Duration: ev.Took, Err: ev.Err,
		})
	case Backoff:
		call(q, h.OnBackoff, observe.BackoffEvent{
			Topic: ev.Topic, Channel: ev.Channel, Time: ev.Time, State: ev.State, Delay: ev.Retry, Err: ev.Err,
			Failed: ev.Failed, Results: ev.Results,
		})
	case GivenBack:
		call(q, h.OnGivenBack, observe.GivenBackEvent{
			Topic: ev.Topic, Channel: ev.Channel, Time: ev.Time, Reason: ev.Reason, Messages: ev.Found,
		})
	case Overdue:
		call(q, h.OnOverdue, observe.OverdueEvent{
			NSQD: ev.NSQD, Topic: ev.Topic, Channel: ev.Channel, Time: ev.Time, ID: ev.Message, Age: ev.Age,
		})
	case Drift:
		call(q, h.OnDrift, observe.DriftEvent{
			NSQD: ev.NSQD, Topic: ev.Topic, Channel: ev.Channel, Time: ev.Time,
			Allowance: ev.Allowance, Err: ev.Err, Renewed: ev.Renewed,
		})
	}
}

// Settled calls the OnSettle hooks, in the caller's goroutine.
func (q *Queue) Settled(m *handler.Message) {
	for _, f := range q.settle {
		call(q, f, m)
	}
}

// Call calls f in the caller's goroutine, and logs a panic as that of a hook.
func (q *Queue) Call(f func()) {
	if err := guard.Call(f); err != nil {
		q.panicked(err)
	}
}

// call calls a hook that may be nil.
func call[T any](q *Queue, f func(T), arg T) {
	if f != nil {
		q.Call(func() { f(arg) })
	}
}

// panicked tells of a panic of a hook: as of a failed delivery, since OnSettle may panic for each.
func (q *Queue) panicked(err error) {
	p := err.(*handler.PanicError)
	attrs := func() []slog.Attr { return []slog.Attr{slog.String("error", err.Error())} }
	if !q.started.Load() {
		q.FailNow(context.Background(), textHook, slog.LevelError, p.Stack, attrs())
		return
	}
	q.Fail(context.Background(), FailureKind{Text: textHook, Error: guard.Site(p.Stack)}, slog.LevelError, p.Stack, attrs)
}

const textHook = "hook panicked"
