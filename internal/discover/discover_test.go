package discover

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
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

// timed is a Source that notes the times of its polls. It finds what answer returns for the number of
// the poll, from 0.
func timed(t *testing.T, times *check.Synced[time.Time], answer func(n int) answer) Source {
	return sourceFunc(func(_ context.Context, topic string) ([]string, error) {
		check.Want(t, "topic", topic, "orders")
		n := times.Len()
		times.Add(time.Now())
		return strings.Fields(answer(n).found), answer(n).err
	})
}

// wantPauses checks the pauses between times: the n-th against the n-th bounds, and later ones against
// the last.
func wantPauses(t *testing.T, times []time.Time, bounds ...[2]time.Duration) {
	t.Helper()
	for i := range times[1:] {
		d, want := times[i+1].Sub(times[i]), bounds[min(i, len(bounds)-1)]
		if d < want[0] || d > want[1] {
			t.Errorf("pause %d: %v between two polls, want %v to %v", i, d, want[0], want[1])
		}
	}
}

// The pauses between polls at an interval of 100 s, and the first ones while no nsqd is named.
var (
	usual  = [2]time.Duration{80 * time.Second, 120 * time.Second}
	search = [][2]time.Duration{
		{time.Second, 1500 * time.Millisecond}, {2 * time.Second, 3 * time.Second}, {3333 * time.Millisecond, 5 * time.Second},
	}
)

// TestInterval: polls are the interval ± 20 % apart while an nsqd is named, whether by a source or as
// a static address. While none is, the pauses grow from 1 s to 5 s, and are never longer than the
// interval.
func TestInterval(t *testing.T) {
	short := [2]time.Duration{1600 * time.Millisecond, 2400 * time.Millisecond}
	tiny := [2]time.Duration{400 * time.Millisecond, 600 * time.Millisecond}
	for name, tt := range map[string]struct {
		answer      answer
		static      []string
		interval    time.Duration
		pauses      [][2]time.Duration
		least, most int // polls in an hour
	}{
		"found":                     {answer{"a:1", nil}, nil, 0, [][2]time.Duration{usual}, 30, 46},
		"found, with an error":      {answer{"a:1", errDown}, nil, 0, [][2]time.Duration{usual}, 30, 46},
		"nothing, a static address": {answer{}, []string{"s:1"}, 0, [][2]time.Duration{usual}, 30, 46},
		"fails, a static address":   {answer{"", errDown}, []string{"s:1"}, 0, [][2]time.Duration{usual}, 30, 46},
		"nothing":                   {answer{}, nil, 0, search, 720, 900},
		"fails":                     {answer{"", errDown}, nil, 0, search, 720, 900},
		"no topic":                  {answer{"", noTopic}, nil, 0, search, 720, 900},
		"nothing, short interval":   {answer{}, nil, 2 * time.Second, [][2]time.Duration{search[0], short}, 1500, 2250},
		"nothing, tiny interval":    {answer{}, nil, 500 * time.Millisecond, [][2]time.Duration{tiny}, 6000, 9000},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			var times check.Synced[time.Time]
			f := newFixture(t, Config{Interval: tt.interval, Sources: []Source{timed(t, &times, func(int) answer { return tt.answer })}}, tt.static...)
			start := time.Now()
			f.run()
			time.Sleep(time.Hour)
			all := times.All()
			check.Want(t, "first poll", all[0], start)
			if n := len(all); n < tt.least || n > tt.most {
				t.Errorf("%d polls in an hour, want %d to %d", n, tt.least, tt.most)
			}
			wantPauses(t, all, tt.pauses...)
			if same := mostEqual(all); same > len(all)/10 {
				t.Errorf("%d of %d pauses are the same: no jitter", same, len(all))
			}
		})
	}
}

// mostEqual returns how many of the pauses between times are the same.
func mostEqual(times []time.Time) (most int) {
	count := make(map[time.Duration]int)
	for i := range times[1:] {
		d := times[i+1].Sub(times[i])
		count[d]++
		most = max(most, count[d])
	}
	return most
}

// TestIntervalChanges: the usual interval begins when an nsqd is found, and the search begins anew,
// with 1 s, when it is not named any more.
func TestIntervalChanges(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var times check.Synced[time.Time]
		f := newFixture(t, Config{Sources: []Source{timed(t, &times, func(n int) answer {
			if n == 6 || n == 7 {
				return answer{"a:1", nil}
			}
			return answer{}
		})}})
		f.run()
		time.Sleep(10 * time.Minute)
		all := times.All()
		wantPauses(t, all[:7], search...)
		wantPauses(t, all[6:9], usual)
		wantPauses(t, all[8:], search...)
	})
}

// TestSearchTogether: when no nsqd is named any more, the other sources are polled at once, and once.
func TestSearchTogether(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var first, second check.Synced[time.Time]
		f := newFixture(t, Config{Sources: []Source{
			timed(t, &first, func(n int) answer { return answer{map[bool]string{true: "a:1"}[n < 2], nil} }),
			timed(t, &second, func(int) answer { return answer{"", errDown} }),
		}})
		f.run()
		f.round(2)
		for first.Len() < 3 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		lost := first.All()[2]
		n := 0
		for _, at := range second.All() {
			if at.Equal(lost) {
				n++
			}
		}
		check.Want(t, "polls of the other source at this moment", n, 1)
		before := second.Len()
		time.Sleep(time.Minute)
		wantPauses(t, second.All()[before-1:], search...)
	})
}

// TestPolled: the owner is told of each poll after its event, when the poll counts for Answered.
func TestPolled(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sources: []Source{answers(answer{"a:1", nil}, answer{"", errDown})}})
		o := &polling{recorder: &f.recorder, answered: f.Answered}
		f.owner = o
		f.run()
		f.next()
		f.next()
		check.Want(t, "calls", strings.Join(o.all.All(), ", "), "1 events, answered true, 2 events, answered true, 3 events, answered true")
	})
}

// polling notes what is known at each call of Polled.
type polling struct {
	*recorder
	answered func() bool
	all      check.Synced[string]
}

func (o *polling) Polled() {
	o.all.Add(fmt.Sprintf("%d events, answered %t", o.events.Len(), o.answered()))
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
		time.Sleep(time.Nanosecond)
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
			check.Want(t, "Polled", f.polled.Load(), 0)
			check.Want(t, "Answered", f.Answered(), false)
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
				f.round(round + 1)
				check.Want(t, fmt.Sprint("round ", round+1), f.Answered(), want)
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

// TestReachable: the last poll of one source at least was answered. Failures are the errors of the
// last polls of the others.
func TestReachable(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{}, "s:1")
		check.Want(t, "without sources", f.Reachable(), true)
	})
	for _, tt := range []struct {
		first, second answer // after a poll that was the opposite
		want          bool
		failures      int
	}{
		{answer{}, answer{}, true, 0},
		{answer{"a:1", nil}, answer{"", errDown}, true, 1},
		{answer{"", noTopic}, answer{"", errDown}, true, 1},
		{answer{"", errDown}, answer{"a:1", errDown}, false, 2},
	} {
		check.Bubble(t, fmt.Sprint(tt.first, tt.second), func(t *testing.T) {
			opposite := func(a answer) answer {
				if a.err == errDown {
					return answer{}
				}
				return answer{"", errDown}
			}
			f := newFixture(t, Config{Sources: []Source{answers(opposite(tt.first), tt.first), answers(opposite(tt.second), tt.second)}})
			check.Want(t, "before the first poll", f.Reachable(), false)
			check.Want(t, "failures before the first poll", len(f.Failures()), 0)
			f.run()
			check.Want(t, "failures of the first poll", len(f.Failures()), 2-tt.failures)
			f.round(2)
			check.Want(t, "Reachable", f.Reachable(), tt.want)
			errs := f.Failures()
			check.Want(t, "failures", len(errs), tt.failures)
			for _, err := range errs {
				check.WantErr(t, "failure", err, errDown)
			}
		})
	}
}

// TestNotice: an error beside an answer that can be relied on does not count as a failure. What is
// missing from three of them, each about an interval after the one before, is forgotten.
func TestNotice(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sources: []Source{answers(answer{"a:1", notice{errDown}}, answer{"", notice{errDown}})}})
		start := time.Now()
		f.run()
		f.wantCalls("connect a:1")
		f.wantPoll(1, true, errDown)
		for f.calls.Len() == 1 {
			f.next()
			f.wantPoll(0, true, errDown)
			check.Want(t, "Errors", f.Stats()[0].Errors, 0)
			if time.Since(start) > time.Hour {
				t.Fatal("not forgotten")
			}
		}
		f.wantCalls("forget a:1")
		// The first of the three polls comes after the interval. The search goes on from there: two
		// more count, each the first one that is three quarters of the interval later.
		if took := time.Since(start); took < 230*time.Second || took > 282*time.Second {
			t.Errorf("forgotten after %v, want 230 s to 282 s", took)
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

// TestFoundIsCopied: the slice of a source is not changed. Invalid addresses are dropped, with a
// notice.
func TestFoundIsCopied(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		found := []string{"no port", "a:1", "", "b:0", "unix:///run/nsqd.sock"}
		f := newFixture(t, Config{Sources: []Source{sourceFunc(func(context.Context, string) ([]string, error) { return found, nil })}})
		f.run()
		f.wantCalls("connect a:1", "connect unix:///run/nsqd.sock")
		f.wantText(`nsqx: a discoverer named 3 addresses that cannot be used, such as "no port": want host:port or unix:///path`)
		check.Want(t, "good", f.events.All()[0].Good, true)
		check.Want(t, "found", f.events.All()[0].Found, 2)
		check.Want(t, "slice of the source", strings.Join(found, ","), "no port,a:1,,b:0,unix:///run/nsqd.sock")
	})
}

// TestMax: addresses beyond Max are refused, with an error, until others give way.
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
		f.next()
		f.wantText(fmt.Sprintf(refused, 1, 2))
		f.wantCalls()
		f.next() // the third without b, one of them partial
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
