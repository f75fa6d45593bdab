package notify

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/observe"
)

var (
	errLost  = errors.New("lost")
	errPanic = errors.New("the value of a panic")
	kinds    = []Kind{Connect, Disconnect, DialError, Refused, Lookup, Backoff, Overdue}
)

// seen returns hooks that add what they get to a list, as "name: event".
func seen(list *check.Synced[string]) observe.Hooks {
	add := func(name string, event any) { list.Add(fmt.Sprintf("%s: %+v", name, event)) }
	return observe.Hooks{
		OnConnect:    func(e observe.ConnEvent) { add("connect", e) },
		OnDisconnect: func(e observe.ConnEvent) { add("disconnect", e) },
		OnDialError:  func(e observe.ConnEvent) { add("dial error", e) },
		OnRefused:    func(e observe.ConnEvent) { add("refused", e) },
		OnLookup:     func(e observe.LookupEvent) { add("lookup", e) },
		OnBackoff:    func(e observe.BackoffEvent) { add("backoff", e) },
		OnDrift:      func(e observe.DriftEvent) { add("drift", e) },
		OnGivenBack:  func(e observe.GivenBackEvent) { add("given back", e) },
		OnOverdue:    func(e observe.OverdueEvent) { add("overdue", e) },
	}
}

// addrs is a hook for OnConnect that adds addresses to a list.
func addrs(list *check.Synced[string]) observe.Hooks {
	return observe.Hooks{OnConnect: func(e observe.ConnEvent) { list.Add(e.NSQD) }}
}

// TestHooksGetTheEvent: each kind calls its hook, with every field, and with the time of Post.
func TestHooksGetTheEvent(t *testing.T) {
	id := handler.ID([]byte("0123456789abcdef"))
	now := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC) // as in each bubble
	conn := observe.ConnEvent{NSQD: "a:1", Topic: "orders", Channel: "billing", Time: now, Err: errLost, Retry: time.Second}
	for _, tt := range []struct {
		kind  Kind
		name  string
		event any
	}{
		{Connect, "connect", conn},
		{Disconnect, "disconnect", conn},
		{DialError, "dial error", conn},
		{Refused, "refused", conn},
		{Lookup, "lookup", observe.LookupEvent{
			Source: "b:2", Topic: "orders", Channel: "billing", Time: now, Duration: time.Minute, Found: 3, Err: errLost,
		}},
		{Backoff, "backoff", observe.BackoffEvent{
			Topic: "orders", Channel: "billing", Time: now, State: observe.BackoffOpen, Delay: time.Second, Err: errLost, Failed: 9, Results: 10,
		}},
		{GivenBack, "given back", observe.GivenBackEvent{Topic: "orders", Channel: "billing", Time: now, Reason: "stall", Messages: 3}},
		{Drift, "drift", observe.DriftEvent{
			NSQD: "a:1", Topic: "orders", Channel: "billing", Time: now, Allowance: 2, Err: errLost, Renewed: true,
		}},
		{Overdue, "overdue", observe.OverdueEvent{
			NSQD: "a:1", Topic: "orders", Channel: "billing", Time: now, ID: id, Age: time.Hour,
		}},
	} {
		check.Bubble(t, tt.name, func(t *testing.T) {
			for f, v := range reflect.ValueOf(tt.event).Fields() {
				check.Want(t, f.Name+" is zero in the test", v.IsZero(), false)
			}
			var list check.Synced[string]
			q := newQueue(&records{}, seen(&list))
			q.Post(Event{
				Kind: tt.kind, ConnEvent: observe.ConnEvent{NSQD: "a:1", Err: errLost, Retry: time.Second},
				Message: id, Age: time.Hour, Source: "b:2", Found: 3, Took: time.Minute, Reason: "stall", State: observe.BackoffOpen, Failed: 9, Results: 10,
				Allowance: 2, Renewed: true,
			})
			time.Sleep(time.Hour)
			q.Start()
			wantClosed(t, q, time.Second, 0, true)
			check.Want(t, "calls", strings.Join(list.All(), "\n"), fmt.Sprintf("%s: %+v", tt.name, tt.event))
		})
	}
}

// TestNilHooks: a hook that is not set is skipped, and the others are called.
func TestNilHooks(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var list check.Synced[string]
		q := newQueue(&records{}, observe.Hooks{}, seen(&list), observe.Hooks{})
		q.Start()
		for _, kind := range kinds {
			q.Post(Event{Kind: kind})
		}
		q.Settled(&handler.Message{})
		wantClosed(t, q, time.Second, 0, true)
		check.Want(t, "events", list.Len(), len(kinds))
	})
}

// TestOrder: events in the order of Post, hooks in the order of New, the log before the hooks.
func TestOrder(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log, list := &records{}, &check.Synced[string]{}
		hook := func(name string) observe.Hooks {
			return observe.Hooks{OnConnect: func(e observe.ConnEvent) { list.Add(fmt.Sprint(name, e.NSQD, log.Len())) }}
		}
		q := newQueue(log, hook("first"), hook("second"))
		for i := range 3 {
			q.Conn(Connect, fmt.Sprint(i), nil, 0)
		}
		check.Want(t, "before Start", list.Len(), 0)
		q.Start()
		wantClosed(t, q, time.Second, 0, true)
		check.Want(t, "calls", strings.Join(list.All(), " "), "first01 second01 first12 second12 first23 second23")
	})
}

// TestGoroutine: there is one only while an event waits, a hook runs or a line is due.
func TestGoroutine(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		release := make(chan struct{})
		q := newQueue(&records{}, observe.Hooks{OnConnect: func(observe.ConnEvent) { <-release }})
		stacks := make([]byte, 1<<20)
		want := func(what string, n int) {
			t.Helper()
			synctest.Wait()
			check.Want(t, "goroutines "+what, bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("notify.(*Queue).run(")), n)
		}
		q.Conn(Connect, "a:1", nil, 0)
		want("before Start", 0)
		q.Start()
		want("in a hook", 1)
		q.Conn(Connect, "a:1", nil, 0)
		release <- struct{}{}
		want("in the next hook", 1)
		release <- struct{}{}
		want("afterwards", 0)
		q.Fail(t.Context(), FailureKind{Text: "x"}, slog.LevelWarn, nil, func() []slog.Attr { return nil })
		want("while a line may be due", 1)
		time.Sleep(time.Hour)
		want("when none is due any more", 0)
		wantClosed(t, q, time.Second, 0, true)
		q.Conn(Connect, "a:1", nil, 0)
		want("after Close", 0)
	})
}

// TestEachOnce: each event is handled once, whenever it is posted while the goroutine ends or starts.
func TestEachOnce(t *testing.T) {
	const posters, each = 3, 20
	for range 500 {
		var n atomic.Int32 // events
		var at atomic.Int32
		q := newQueue(&records{}, observe.Hooks{OnConnect: func(observe.ConnEvent) {
			if at.Add(1) > 1 {
				t.Error("two hooks at a time")
			}
			n.Add(1)
			at.Add(-1)
		}})
		q.Start()
		var posting sync.WaitGroup
		for range posters {
			posting.Go(func() {
				for range each {
					q.Conn(Connect, "a:1", nil, 0)
					runtime.Gosched()
				}
			})
		}
		posting.Wait()
		check.Want(t, "closed", q.Close(time.Now().Add(time.Minute)), true)
		check.Want(t, "events", n.Load(), posters*each)
	}
}

// TestOverflow: Post never waits. What finds no room is counted, and the rest arrives.
func TestOverflow(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		block, list := make(chan struct{}), &check.Synced[string]{}
		q := newQueue(&records{}, observe.Hooks{OnConnect: func(e observe.ConnEvent) { <-block; list.Add(e.NSQD) }})
		q.Start()
		q.Conn(Connect, "0", nil, 0)
		synctest.Wait() // the hook has the first event
		for i := range backlog + 5 {
			q.Conn(Connect, fmt.Sprint(i+1), nil, 0)
		}
		check.Want(t, "dropped", q.Dropped(), 5)
		close(block)
		synctest.Wait()
		q.Conn(Connect, "late", nil, 0)
		wantClosed(t, q, time.Second, 0, true)
		check.Want(t, "dropped", q.Dropped(), 5)
		got := list.All()
		check.Want(t, "events", len(got), backlog+2)
		check.Want(t, "last of the backlog", got[backlog], fmt.Sprint(backlog))
		check.Want(t, "after the overflow", got[backlog+1], "late")
	})
}

// TestHookPanics: it is logged with its stack, and later hooks and events follow.
func TestHookPanics(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log, list := &records{}, &check.Synced[string]{}
		var stack string
		logger := slog.New(stackHandler{log.logger().Handler(), &stack})
		q := New(logger, "", "", []observe.Hooks{{OnConnect: func(observe.ConnEvent) { panic(errPanic) }}, addrs(list)})
		q.Start()
		q.Conn(Connect, "a:1", nil, 0)
		q.Conn(Connect, "b:1", nil, 0)
		wantClosed(t, q, time.Second, 0, true)
		check.Want(t, "later hook", strings.Join(list.All(), " "), "a:1 b:1")
		check.Want(t, "logged", log.count(`level=ERROR msg="nsqx: hook panicked" error="nsqx: panic: the value of a panic" more_failures=1 over_seconds=0`), 1)
		check.Want(t, "stack names the hook", strings.Contains(stack, "TestHookPanics"), true)
	})
}

// TestCallGoexit: a hook or the logger that calls runtime.Goexit loses at most its own event.
func TestCallGoexit(t *testing.T) {
	exit := func(observe.ConnEvent) { runtime.Goexit() }
	exitOnConnect := func(r slog.Record) bool { return r.Message == "nsqx: connected" }
	for name, tt := range map[string]struct {
		hooks  []observe.Hooks
		logger func(slog.Record) bool // reports whether to call Goexit
	}{
		"hook":                {hooks: []observe.Hooks{{OnConnect: exit}}},
		"logger":              {logger: exitOnConnect},
		"logger, always":      {logger: func(slog.Record) bool { return true }},
		"hook and the logger": {hooks: []observe.Hooks{{OnConnect: exit}}, logger: func(r slog.Record) bool { return r.Level == slog.LevelError }},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			log, list := &records{}, &check.Synced[string]{}
			later := observe.Hooks{OnDisconnect: func(e observe.ConnEvent) { list.Add(e.NSQD) }}
			q := New(slog.New(exitHandler{log.logger().Handler(), tt.logger}), "", "", append(tt.hooks, later))
			q.Start()
			for i := range 3 {
				q.Conn(Connect, fmt.Sprint(i), nil, 0)
				q.Conn(Disconnect, fmt.Sprint(i), nil, 0)
			}
			wantClosed(t, q, time.Second, 0, true)
			if name == "logger, always" {
				check.Want(t, "logged", log.Len(), 0)
				return // no event gets past the logger
			}
			check.Want(t, "later events", strings.Join(list.All(), " "), "0 1 2")
			logged := 3
			if name == "hook and the logger" {
				logged = 0
			}
			check.Want(t, "logged", log.count("nsqx: a hook or the logger called runtime.Goexit"), logged)
		})
	}
}

// TestCloseWaits for the events that wait, until the deadline at most.
func TestCloseWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		deadline, took time.Duration
		want           bool
	}{
		"in time":         {4 * time.Second, 3 * time.Second, true},
		"too late":        {2 * time.Second, 2 * time.Second, false},
		"deadline passed": {-time.Second, 0, false},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			called := &check.Synced[string]{}
			q := newQueue(&records{}, observe.Hooks{OnConnect: func(e observe.ConnEvent) {
				time.Sleep(time.Second)
				called.Add(e.NSQD)
			}})
			q.Start()
			for i := range 3 {
				q.Conn(Connect, fmt.Sprint(i), nil, 0)
			}
			wantClosed(t, q, tt.deadline, tt.took, tt.want)
			time.Sleep(time.Minute)
			check.Want(t, "called", called.Len(), 3) // also after the deadline
		})
	}
	check.Bubble(t, "idle", func(t *testing.T) {
		q := newQueue(&records{})
		q.Start()
		wantClosed(t, q, time.Second, 0, true)
	})
}

// TestCloseWaitsForTheRecord: Close reports true only when the logger has the record of a Goexit.
func TestCloseWaitsForTheRecord(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log := &records{}
		slow := func(r slog.Record) bool {
			if r.Level == slog.LevelError {
				time.Sleep(time.Second)
			}
			return false
		}
		hook := observe.Hooks{OnConnect: func(observe.ConnEvent) { runtime.Goexit() }}
		q := New(slog.New(exitHandler{log.logger().Handler(), slow}), "", "", []observe.Hooks{hook})
		q.Start()
		q.Conn(Connect, "a:1", nil, 0)
		wantClosed(t, q, time.Minute, time.Second, true)
		check.Want(t, "logged", log.count("called runtime.Goexit"), 1)
	})
}

// TestSettled: in the caller's goroutine, all hooks, with a panic logged.
func TestSettled(t *testing.T) {
	log, list := &records{}, &check.Synced[string]{}
	hook := func(name string) observe.Hooks {
		return observe.Hooks{OnSettle: func(m *handler.Message) { list.Add(fmt.Sprint(name, m.Attempts)) }}
	}
	q := newQueue(log, hook("a"), observe.Hooks{OnSettle: func(*handler.Message) { panic(errPanic) }}, observe.Hooks{}, hook("b"))
	q.Settled(&handler.Message{Attempts: 7}) // without Start
	check.Want(t, "calls", strings.Join(list.All(), " "), "a7 b7")
	check.Want(t, "logged", log.count("nsqx: hook panicked"), 1)
	q.Call(func() { panic(errPanic) })
	check.Want(t, "logged", log.count("nsqx: hook panicked"), 2)
}
