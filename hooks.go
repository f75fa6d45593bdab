package nsqx

import (
	"reflect"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ConnEvent is something that happened to a connection.
type ConnEvent struct {
	NSQD           string // address
	Topic, Channel string
	Time           time.Time
	Err            error         // why; nil for OnConnect, and for the end of a connection that a shutdown closed
	Retry          time.Duration // until the next dial; 0 for none
}

// LookupEvent is the result of asking a nsqlookupd, or a [Discoverer].
type LookupEvent struct {
	Source         string // its address, or its Go type
	Topic, Channel string
	Time           time.Time
	Duration       time.Duration // that the answer took
	Found          int           // addresses
	Err            error         // what went wrong, also in part; nil if nothing did
}

// BackoffEvent is the opening of the breaker: see [Backoff].
type BackoffEvent struct {
	Topic, Channel string
	Time           time.Time
	Delay          time.Duration // until a message may try
}

// OverdueEvent is a handler that still runs although nsqd has given its message
// to someone else.
type OverdueEvent struct {
	NSQD           string // address
	Topic, Channel string
	Time           time.Time
	ID             handler.ID
	Age            time.Duration // since the message was received
}

// The hooks that [WithHooks] takes: a value implements those that it wants.
//
// All hooks but SettleHook are called by one goroutine of the consumer, one after
// the other and in order. One that is slow holds up the others, and logging,
// but neither messages nor connections; what cannot wait any more is dropped
// and counted (Stats.EventsDropped). A hook that panics is logged.
type (
	// ConnectHook is told of a connection that is subscribed.
	ConnectHook interface{ OnConnect(ConnEvent) }

	// DisconnectHook is told of the end of a connection that was subscribed.
	DisconnectHook interface{ OnDisconnect(ConnEvent) }

	// DialErrorHook is told of an attempt to connect that failed.
	DialErrorHook interface{ OnDialError(ConnEvent) }

	// RefusedHook is told of an answer or a TOUCH that nsqd refused, because it
	// came too late: the message has timed out.
	RefusedHook interface{ OnRefused(ConnEvent) }

	// LookupHook is told of every answer of a nsqlookupd, or its failure.
	LookupHook interface{ OnLookup(LookupEvent) }

	// BackoffHook is told when nearly all messages fail and the consumer stops
	// asking for more.
	BackoffHook interface{ OnBackoff(BackoffEvent) }

	// OverdueHook is told, once for each message, of a handler that outlives it.
	OverdueHook interface{ OnOverdue(OverdueEvent) }

	// SettleHook is told of every message that went through the chain, with its
	// Outcome, before nsqd is. It is called by the goroutine of the handler,
	// many at a time. The body is still there.
	SettleHook interface{ OnSettle(m *handler.Message) }
)

// Functions as hooks.
type (
	ConnectFunc    func(ConnEvent)        // a ConnectHook
	DisconnectFunc func(ConnEvent)        // a DisconnectHook
	DialErrorFunc  func(ConnEvent)        // a DialErrorHook
	RefusedFunc    func(ConnEvent)        // a RefusedHook
	LookupFunc     func(LookupEvent)      // a LookupHook
	BackoffFunc    func(BackoffEvent)     // a BackoffHook
	OverdueFunc    func(OverdueEvent)     // an OverdueHook
	SettleFunc     func(*handler.Message) // a SettleHook
)

// OnConnect calls f.
func (f ConnectFunc) OnConnect(e ConnEvent) { f(e) }

// OnDisconnect calls f.
func (f DisconnectFunc) OnDisconnect(e ConnEvent) { f(e) }

// OnDialError calls f.
func (f DialErrorFunc) OnDialError(e ConnEvent) { f(e) }

// OnRefused calls f.
func (f RefusedFunc) OnRefused(e ConnEvent) { f(e) }

// OnLookup calls f.
func (f LookupFunc) OnLookup(e LookupEvent) { f(e) }

// OnBackoff calls f.
func (f BackoffFunc) OnBackoff(e BackoffEvent) { f(e) }

// OnOverdue calls f.
func (f OverdueFunc) OnOverdue(e OverdueEvent) { f(e) }

// OnSettle calls f.
func (f SettleFunc) OnSettle(m *handler.Message) { f(m) }

// hooks are the registered ones, by kind.
type hooks struct {
	connect    []func(ConnEvent)
	disconnect []func(ConnEvent)
	dialError  []func(ConnEvent)
	refused    []func(ConnEvent)
	lookup     []func(LookupEvent)
	backoff    []func(BackoffEvent)
	overdue    []func(OverdueEvent)
	settle     []func(*handler.Message)
}

// add registers the hooks that v implements, and says whether there are any.
func (h *hooks) add(v any) (any bool) {
	if f := reflect.ValueOf(v); f.Kind() == reflect.Func && f.IsNil() {
		return false
	}
	if x, ok := v.(ConnectHook); ok {
		h.connect, any = append(h.connect, x.OnConnect), true
	}
	if x, ok := v.(DisconnectHook); ok {
		h.disconnect, any = append(h.disconnect, x.OnDisconnect), true
	}
	if x, ok := v.(DialErrorHook); ok {
		h.dialError, any = append(h.dialError, x.OnDialError), true
	}
	if x, ok := v.(RefusedHook); ok {
		h.refused, any = append(h.refused, x.OnRefused), true
	}
	if x, ok := v.(LookupHook); ok {
		h.lookup, any = append(h.lookup, x.OnLookup), true
	}
	if x, ok := v.(BackoffHook); ok {
		h.backoff, any = append(h.backoff, x.OnBackoff), true
	}
	if x, ok := v.(OverdueHook); ok {
		h.overdue, any = append(h.overdue, x.OnOverdue), true
	}
	if x, ok := v.(SettleHook); ok {
		h.settle, any = append(h.settle, x.OnSettle), true
	}
	return any
}
