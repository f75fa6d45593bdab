package publish

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

// TestCloseWithHangingUserCode: Close waits a second for user code at most. Only its goroutine is
// left, and ends when it returns.
func TestCloseWithHangingUserCode(t *testing.T) {
	hang := func() { time.Sleep(time.Hour) }
	for name, tt := range map[string]struct {
		edit func(*Settings)
		took time.Duration
		left int // goroutines
	}{
		"hook": {func(s *Settings) {
			s.Hooks = []observe.Hooks{{OnConnect: func(observe.ConnEvent) { hang() }}}
		}, CloseGrace, 1},
		"discoverer": {func(s *Settings) { s.Discover.Sources = []discover.Source{slowSource(time.Hour)} }, guard.Patience, 1},
		"dialer": {func(s *Settings) {
			s.Conn.DialContext = func(context.Context, string, string) (net.Conn, error) { hang(); return nil, errRefused }
		}, guard.Patience, 2}, // that of the dial, and that of the dialer
	} {
		check.Bubble(t, name, func(t *testing.T) {
			before := bubbleGoroutines()
			cfg := newNSQDs(t).settings(addrA)
			tt.edit(&cfg)
			p := Start(cfg)
			synctest.Wait()
			start := time.Now()
			err := p.Close(t.Context())
			check.Want(t, "Close reports the hook", err != nil && strings.Contains(err.Error(), "a hook or the logger still runs"), name == "hook")
			check.Want(t, "time", time.Since(start), tt.took)
			synctest.Wait()
			check.Want(t, "goroutines left", bubbleGoroutines()-before, tt.left)
			time.Sleep(time.Hour)
			synctest.Wait()
			check.Want(t, "goroutines left when it has returned", bubbleGoroutines()-before, 0)
		})
	}
}

// bubbleGoroutines returns the number of goroutines in bubbles. Only one test has a bubble at a time.
func bubbleGoroutines() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), ", synctest bubble ")
}

// TestGoexit: user code that calls runtime.Goexit in a publish is logged once, and the publisher goes on.
func TestGoexit(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var log bytes.Buffer
		cfg := newNSQDs(t).settings(addrA)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		p := Start(cfg)
		synctest.Wait()
		exits := func(next handler.Send) handler.Send {
			return func(context.Context, *handler.Outgoing) error { runtime.Goexit(); return nil }
		}
		run := func(f func()) string {
			log.Reset()
			var one sync.WaitGroup
			one.Go(f)
			one.Wait()
			synctest.Wait() // for the goroutine of events
			return log.String()
		}
		middleware := run(func() {
			_ = p.Through(t.Context(), p.Chain("orders", []handler.SendMiddleware{exits}, false), message("x"))
		})
		callback := run(func() { p.Call(runtime.Goexit) })
		panicking := run(func() { p.Call(func() { panic(errPanic) }) })
		for text, record := range map[string]string{
			"middleware or telemetry called runtime.Goexit in a publish\" topic=orders": middleware,
			"a callback called runtime.Goexit":                                          callback,
			"panicked":                                                                  panicking,
		} {
			if strings.Count(record, "\n") != 1 || !strings.Contains(record, text) {
				t.Errorf("log is %q, want one record with %q", record, text)
			}
		}
		check.WantErr(t, "Flush", p.Work.Flush(t.Context()), nil)
		check.WantErr(t, "publish", p.Through(t.Context(), p.Chain("orders", nil, false), message("x")), nil)
		check.WantErr(t, "Close", p.Close(t.Context()), nil)
	})
}
