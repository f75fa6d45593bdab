package discover

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/guard"
)

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

// TestHang: a source or filter that ignores its ctx fails its polls until it returns, in one
// goroutine however long that takes. Other sources are polled as usual.
func TestHang(t *testing.T) {
	for _, where := range []string{"source", "filter"} {
		check.Bubble(t, where, func(t *testing.T) {
			release := make(chan struct{})
			var calls atomic.Int32
			hang := func(here string) {
				if here == where {
					calls.Add(1)
					<-release
				}
			}
			f := newFixture(t, Config{
				Sources: []Source{
					sourceFunc(func(context.Context, string) ([]string, error) {
						hang("source")
						return []string{"a:1"}, nil
					}),
					answers(answer{"b:1", nil}),
				},
				Filter: func(addr string) bool {
					if addr == "a:1" {
						hang("filter")
					}
					return true
				},
			})
			f.run()
			f.wantCalls("connect b:1")
			check.Want(t, "Answered before the poll has failed", f.Answered(), false)
			time.Sleep(pollTimeout + guard.Patience)
			synctest.Wait()
			check.Want(t, "Answered", f.Answered(), true)
			stats := f.Stats()
			check.WantErr(t, "error", stats[0].LastErr, guard.ErrHangs)
			f.round(20)
			stats = f.Stats()
			check.Want(t, "errors of the source that hangs", stats[0].Errors, stats[0].Polls)
			check.Want(t, "errors of the other", stats[1].Errors, 0)
			check.Want(t, "calls", calls.Load(), 1)
			f.wantCalls()

			close(release)
			f.round(int(stats[0].Polls) + 2)
			f.wantCalls("connect a:1")
			check.WantErr(t, "error", f.Stats()[0].LastErr, nil)
		})
	}
}

// TestEndWhileHanging: Run does not wait for a source that ignores its ctx, and the owner hears
// nothing of it.
func TestEndWhileHanging(t *testing.T) {
	for name, after := range map[string]time.Duration{"in the first poll": 0, "in a later one": time.Minute} {
		check.Bubble(t, name, func(t *testing.T) {
			release := make(chan struct{})
			f := newFixture(t, Config{Sources: []Source{sourceFunc(func(context.Context, string) ([]string, error) {
				<-release
				return []string{"a:1"}, nil
			})}})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				f.Run(ctx)
			}()
			time.Sleep(after)
			events := f.events.Len()
			cancel()
			start := time.Now()
			<-done
			if took := time.Since(start); took > guard.Patience {
				t.Errorf("Run took %v to return", took)
			}
			close(release)
			synctest.Wait()
			f.wantCalls()
			check.Want(t, "events", f.events.Len(), events)
		})
	}
}

// TestEndByDeadline: a poll that the deadline of Run cuts is no failure of its source.
func TestEndByDeadline(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sources: []Source{sourceFunc(func(ctx context.Context, _ string) ([]string, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f.Run(ctx)
		check.Want(t, "events", f.events.Len(), 0)
		check.Want(t, "polls", f.Stats()[0].Polls, 0)
		check.Want(t, "Polled", f.polled.Load(), 0)
	})
}
