package nsqxtest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestRun(t *testing.T) {
	type key struct{}
	wait := service(func(ctx context.Context) error { <-ctx.Done(); return nil })
	for _, tt := range []struct {
		name     string
		services []nsqx.Service
		report   string
	}{
		{"no error", []nsqx.Service{wait, wait}, ""},
		{"error at the end", []nsqx.Service{wait, service(func(ctx context.Context) error { <-ctx.Done(); return errCredit })}, "Run: no credit"},
		{"error", []nsqx.Service{wait, service(func(context.Context) error { return errCredit })}, "Run: no credit"},
		{"early", []nsqx.Service{service(func(context.Context) error { return nil }), wait}, "ended before it was told to"},
	} {
		check.Bubble(t, tt.name, func(t *testing.T) {
			tb := new(recorder)
			stop := nsqxtest.Run(tb, tt.services...)
			synctest.Wait()
			stop()
			tb.end() // calls stop again
			got := tb.reported()
			if tt.report == "" {
				wantList(t, "reported", got)
			} else if len(got) != 1 || !strings.Contains(got[0], tt.report) {
				t.Errorf("reported %q, want %q", got, tt.report)
			}
		})
	}
	t.Run("values", func(t *testing.T) {
		tb := &withContext{recorder: new(recorder), ctx: context.WithValue(context.Background(), key{}, "v")}
		got := make(chan any, 1)
		nsqxtest.Run(tb, service(func(ctx context.Context) error {
			got <- ctx.Value(key{})
			<-ctx.Done()
			return nil
		}))
		check.Want(t, "value", <-got, any("v"))
		tb.end()
		wantList(t, "reported", tb.reported())
	})
}
