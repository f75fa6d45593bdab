package nsqxtest

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
)

// Run runs consumers in the background until the end of the test or until stop is called. stop
// drains them and waits. Run fails the test if a consumer returns an error or stops earlier. Call
// Run after [NewServer], so that the server outlives the drain.
//
// The context of the consumers carries the values of tb.Context.
func Run(tb testing.TB, consumers ...nsqx.Service) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := nsqx.Run(ctx, append(slices.Clone(consumers), // what limits a test is its own timeout
			nsqx.WithGrace(24*time.Hour), nsqx.WithRunLogger(slog.New(slog.DiscardHandler)))...)
		if err != nil {
			tb.Errorf("nsqxtest: Run: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	tb.Cleanup(stop)
	return stop
}
