package test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
)

const (
	nsqd1 = "nsqd-1:4150"
	nsqd2 = "nsqd-2:4150"
	nsqd3 = "nsqd-3:4150"
)

var (
	errBill = errors.New("no credit")
	discard = slog.New(slog.DiscardHandler)
)

// bubble runs f as a subtest in a bubble, which fails if a goroutine remains.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// synced is a list for concurrent use.
type synced[T any] struct {
	mu   sync.Mutex
	list []T
}

func (s *synced[T]) add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, v)
}

func (s *synced[T]) all() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// wantSlow checks that a delay is that of an error that a quick retry does not fix.
func wantSlow(t *testing.T, got time.Duration) {
	t.Helper()
	if got < 5*time.Second || got > 10*time.Second {
		t.Errorf("delay is %v, want 5s to 10s", got)
	}
}

// wantDelay checks that a delay is the nth of a schedule that doubles from 100 ms to 10 s, with
// jitter.
func wantDelay(t *testing.T, n int, got time.Duration) {
	t.Helper()
	middle := min(100*time.Millisecond<<n, 10*time.Second*2/3)
	if got < middle/2 || got > middle*3/2 || got > 10*time.Second {
		t.Errorf("delay %d is %v, want half of %v to its one and a half", n, got, middle)
	}
}

// faults splits a joined error.
func faults(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, err := range joined.Unwrap() {
			all = append(all, faults(err)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// optionErrors returns the OptionErrors of a joined error.
func optionErrors(err error) (all []*nsqx.OptionError) {
	switch e := err.(type) {
	case *nsqx.OptionError:
		all = append(all, e)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			all = append(all, optionErrors(err)...)
		}
	}
	return all
}

// job is a service that runs until ctx ends, or until it gets an error from end.
type job struct {
	end chan error
	err error // returned when ctx has ended
	ran time.Duration
}

func (j *job) Run(ctx context.Context) error {
	start := time.Now()
	defer func() { j.ran = time.Since(start) }()
	select {
	case err := <-j.end:
		return err
	case <-ctx.Done():
		time.Sleep(time.Second)
		return j.err
	}
}
