package discover

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
)

// TestStatic: the static addresses are connected by New, once each, without a poll.
func TestStatic(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{}, "a:1", "b:1", "a:1")
		f.wantCalls("connect a:1", "connect b:1")
		check.Want(t, "Answered", f.Answered(), true)
		check.Want(t, "Stats", len(f.Stats()), 0)
		f.Run(context.Background()) // returns, since there is nothing to poll
		check.Want(t, "events", f.events.Len(), 0)
	})
}

// TestPolls: what the owner hears of a source over several polls.
func TestPolls(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sources: []Source{answers(
			answer{"a:1 b:1", nil}, answer{"a:1", nil}, answer{"a:1 b:1", nil}, answer{"c:1", errDown}, answer{"", nil}, answer{"", nil}, answer{"s:1", nil},
		)}}, "s:1")
		f.wantCalls("connect s:1")
		f.run()
		for _, poll := range []struct {
			calls []string
			found int
			err   error
		}{
			{[]string{"connect a:1", "connect b:1"}, 2, nil},
			{nil, 1, nil},
			{[]string{"redial b:1"}, 2, nil},
			{[]string{"connect c:1"}, 1, errDown}, // used, and nothing is forgotten
			{nil, 0, nil},
			{nil, 0, nil},
			{[]string{"redial s:1", "forget a:1", "forget b:1", "forget c:1"}, 1, nil},
		} {
			f.wantCalls(poll.calls...)
			f.wantPoll(poll.found, poll.err == nil, poll.err)
			if poll.err != nil {
				check.Want(t, "Found of the last good poll", f.Stats()[0].Found, 2)
			}
			f.next()
		}
		check.Want(t, "Errors", f.Stats()[0].Errors, 1)
		check.Want(t, "Name", f.Stats()[0].Name, "discover.sourceFunc")
	})
}

// TestInterval: polls are the interval ± 20 % apart.
func TestInterval(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var times check.Synced[time.Time]
		f := newFixture(t, Config{Sources: []Source{sourceFunc(func(_ context.Context, topic string) ([]string, error) {
			check.Want(t, "topic", topic, "orders")
			times.Add(time.Now())
			return nil, nil
		})}})
		start := time.Now()
		f.run()
		time.Sleep(time.Hour)
		all := times.All()
		check.Want(t, "first poll", all[0], start)
		check.Want(t, "polls are 30 to 46", len(all) >= 30 && len(all) <= 46, true)
		for i := range all[1:] {
			if d := all[i+1].Sub(all[i]); d < 80*time.Second || d > 120*time.Second {
				t.Errorf("%v between two polls, want 80 s to 120 s", d)
			}
		}
	})
}

// TestPollTimeout: a poll has 10 s. The event has its duration, and other sources do not wait.
func TestPollTimeout(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		slow := sourceFunc(func(ctx context.Context, _ string) ([]string, error) {
			<-ctx.Done()
			return []string{"a:1"}, ctx.Err()
		})
		f := newFixture(t, Config{Sources: []Source{slow, answers(answer{"b:1", nil})}})
		f.run()
		f.wantCalls("connect b:1")
		time.Sleep(10*time.Second - 1)
		synctest.Wait()
		check.Want(t, "events", f.events.Len(), 1)
		time.Sleep(1)
		synctest.Wait()
		f.wantCalls("connect a:1")
		ev := f.events.All()[1]
		check.WantErr(t, "error", ev.Err, context.DeadlineExceeded)
		check.Want(t, "took", ev.Took, 10*time.Second)
		check.Want(t, "good", ev.Good, false)
	})
}

// TestEndWhilePolling: Run returns, and the owner hears nothing of the poll.
func TestEndWhilePolling(t *testing.T) {
	for name, err := range map[string]error{"fails": errDown, "succeeds": nil} {
		check.Bubble(t, name, func(t *testing.T) {
			f := newFixture(t, Config{Sources: []Source{sourceFunc(func(ctx context.Context, _ string) ([]string, error) {
				<-ctx.Done()
				return []string{"a:1"}, err
			})}})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				f.Run(ctx)
			}()
			synctest.Wait()
			cancel()
			<-done
			f.wantCalls()
			check.Want(t, "events", f.events.Len(), 0)
			check.Want(t, "polls", f.Stats()[0].Polls, 0)
			f.Run(ctx) // ended already
			check.Want(t, "polls", f.Stats()[0].Polls, 0)
		})
	}
}

// TestAnswered: all sources were polled, and one at least has answered once.
func TestAnswered(t *testing.T) {
	for _, tt := range []struct {
		first, second []answer
		want          []bool // after each round of polls
	}{
		{[]answer{{}}, []answer{{}}, []bool{true, true}},
		{[]answer{{err: errDown}}, []answer{{}}, []bool{true, true}},
		{[]answer{{}}, []answer{{err: errDown}}, []bool{true, true}},
		{[]answer{{err: errDown}}, []answer{{"a:1", errDown}}, []bool{false, false}},
		{[]answer{{err: errDown}}, []answer{{err: errDown}, {}}, []bool{false, true}},
		{[]answer{{err: errDown}, {}, {err: errDown}}, []answer{{err: errDown}}, []bool{false, true, true}},
		{[]answer{{err: notice{errDown}}}, []answer{{err: errDown}}, []bool{true, true}},
	} {
		check.Bubble(t, fmt.Sprint(tt.first, tt.second), func(t *testing.T) {
			f := newFixture(t, Config{Sources: []Source{answers(tt.first...), answers(tt.second...)}})
			check.Want(t, "before the first poll", f.Answered(), false)
			f.run()
			for round, want := range tt.want {
				check.Want(t, fmt.Sprint("round ", round+1), f.Answered(), want)
				f.next()
			}
		})
	}
	check.Bubble(t, "one is not polled yet", func(t *testing.T) {
		slow := sourceFunc(func(context.Context, string) ([]string, error) { time.Sleep(time.Second); return nil, errDown })
		f := newFixture(t, Config{Sources: []Source{answers(answer{"a:1", nil}), slow}})
		f.run()
		check.Want(t, "after one", f.Answered(), false)
		time.Sleep(time.Second)
		synctest.Wait()
		check.Want(t, "after both", f.Answered(), true)
	})
}

// TestNotice: an error beside an answer that can be relied on does not count as a failure.
func TestNotice(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sources: []Source{answers(answer{"a:1", notice{errDown}}, answer{"", notice{errDown}})}})
		f.run()
		f.wantCalls("connect a:1")
		for n := range 4 {
			f.wantPoll(map[int]int{0: 1}[n], true, errDown)
			check.Want(t, "Errors", f.Stats()[0].Errors, 0)
			if n == 3 { // missing from three polls
				f.wantCalls("forget a:1")
			}
			f.next()
		}
	})
}

// TestFilter: the filter applies to found addresses, and not to static ones.
func TestFilter(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{
			Sources: []Source{answers(answer{"a:1 bad:1 b:1", nil})},
			Filter:  func(addr string) bool { return !strings.HasPrefix(addr, "bad") },
		}, "bad:2")
		f.run()
		f.wantCalls("connect bad:2", "connect a:1", "connect b:1")
		f.wantPoll(2, true, nil)
	})
}

// TestFoundIsCopied: the slice of a source is not changed. Invalid addresses are dropped.
func TestFoundIsCopied(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		found := []string{"no port", "a:1", "", "b:0", "unix:///run/nsqd.sock"}
		f := newFixture(t, Config{Sources: []Source{sourceFunc(func(context.Context, string) ([]string, error) { return found, nil })}})
		f.run()
		f.wantCalls("connect a:1", "connect unix:///run/nsqd.sock")
		f.wantPoll(2, true, nil)
		check.Want(t, "slice of the source", strings.Join(found, ","), "no port,a:1,,b:0,unix:///run/nsqd.sock")
	})
}

// TestUserCode: a source or filter that panics or calls runtime.Goexit fails one poll, and nothing
// of the poll is used.
func TestUserCode(t *testing.T) {
	for fault, tt := range map[string]struct {
		fault func()
		want  error
	}{
		"panics":       {func() { panic(errPanic) }, errPanic},
		"calls Goexit": {runtime.Goexit, guard.ErrGoexit},
	} {
		for _, where := range []string{"source", "filter"} {
			check.Bubble(t, where+" "+fault, func(t *testing.T) {
				faults := 1
				fail := func(here string) {
					if here == where && faults > 0 {
						faults--
						tt.fault()
					}
				}
				f := newFixture(t, Config{
					Sources: []Source{sourceFunc(func(context.Context, string) ([]string, error) {
						fail("source")
						return []string{"a:1"}, nil
					})},
					Filter: func(string) bool { fail("filter"); return true },
				})
				f.run()
				f.wantCalls()
				f.wantPoll(0, false, tt.want)
				ev := f.events.All()[0]
				if _, ok := errors.AsType[*handler.PanicError](ev.Err); !ok {
					t.Errorf("error is %#v, want a PanicError", ev.Err)
				}
				check.Want(t, "Answered", f.Answered(), false)
				check.Want(t, "Errors", f.Stats()[0].Errors, 1)
				f.next()
				f.wantCalls("connect a:1")
				f.wantPoll(1, true, nil)
				check.Want(t, "Answered", f.Answered(), true)
			})
		}
	}
}

// TestMax: addresses beyond Max are refused, with an error, until others are forgotten.
func TestMax(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Max: 2, Sources: []Source{answers(
			answer{"a:1 b:1 c:1 d:1", nil}, answer{"a:1 c:1", errDown}, answer{"a:1 c:1", nil}, answer{"a:1 c:1", nil}, answer{"a:1 c:1", nil},
		)}}, "s:1", "t:1", "u:1")
		f.run()
		f.wantCalls("connect s:1", "connect t:1", "connect u:1", "connect a:1", "connect b:1")
		const refused = "nsqx: %d nsqds found beyond the %d that WithMaxNSQDs allows"
		f.wantText(fmt.Sprintf(refused, 2, 2))
		ev, stats := f.events.All()[0], f.Stats()[0]
		check.Want(t, "good", ev.Good, true)
		check.Want(t, "found", ev.Found, 4)
		check.Want(t, "Errors", stats.Errors, 0)
		check.Want(t, "Answered", f.Answered(), true)
		f.next()
		f.wantText(errDown.Error()) // the error of the source comes first
		for range 2 {
			f.next()
			f.wantText(fmt.Sprintf(refused, 1, 2))
			f.wantCalls()
		}
		f.next()
		f.wantCalls("forget b:1", "connect c:1")
		f.wantPoll(2, true, nil)
	})
}

// TestOrder: the changes of a poll reach the owner before its event, and in the order of the table.
func TestOrder(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sources: []Source{answers(answer{"a:1 b:1 c:1", nil})}})
		o := &ordered{recorder: &f.recorder}
		f.owner = o
		f.run()
		check.Want(t, "calls before the event", strings.Join(o.before, ", "), "connect a:1, connect b:1, connect c:1")
	})
}

// ordered keeps the calls before the first event.
type ordered struct {
	*recorder
	before []string
}

func (o *ordered) Post(notify.Event) { o.before = o.calls.All() }
