package nsqxtest

import (
	"context"
	"sync"
	"testing"

	"github.com/nsqx/nsqx"
)

// Run runs consumers in the background until the end of the test, or until stop is called, which drains them and waits. It
// fails the test if a Run returns an error, or returns before that. Call it after [NewServer], so that the server outlives
// the drain.
//
// Their context carries the values of tb's.
func Run(tb testing.TB, consumers ...nsqx.Service) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := nsqx.Run(ctx, consumers...)
		switch {
		case err != nil:
			tb.Errorf("nsqxtest: Run: %v", err)
		case ctx.Err() == nil:
			tb.Errorf("nsqxtest: Run: a consumer has stopped by itself")
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-ended
		})
	}
	tb.Cleanup(stop)
	return stop
}
