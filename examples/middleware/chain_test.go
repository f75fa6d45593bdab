package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var passed []time.Duration
		h := limit(time.Second)(func(context.Context, *handler.Message) error {
			passed = append(passed, time.Since(start))
			return nil
		})
		for range 3 {
			if err := h(t.Context(), new(handler.Message)); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute) // unused intervals do not accumulate
		ctx, cancel := context.WithCancelCause(t.Context())
		for range 2 {
			if err := h(ctx, new(handler.Message)); err != nil {
				t.Error(err)
			}
		}
		want := []time.Duration{0, time.Second, 2 * time.Second, 62 * time.Second, 63 * time.Second}
		for i, at := range want {
			if len(passed) != len(want) || passed[i] != at {
				t.Fatalf("passed at %v, want %v", passed, want)
			}
		}
		enough := errors.New("enough")
		cancel(enough)
		if err := h(ctx, new(handler.Message)); !errors.Is(err, enough) {
			t.Errorf("got error %v, want the cause", err)
		}
	})
}

func TestValid(t *testing.T) {
	calls := 0
	h := valid(func(context.Context, Parcel) error { calls++; return nil })
	if err := h(t.Context(), Parcel{ID: 1, Kilos: 1}); err != nil || calls != 1 {
		t.Errorf("got error %v after %d calls, want none after 1", err, calls)
	}
	if err := h(t.Context(), Parcel{ID: 2}); retry.Of(err).Action != retry.GiveUp || calls != 1 {
		t.Errorf("got error %v after %d calls, want a permanent one after 1", err, calls)
	}
}
