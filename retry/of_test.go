package retry_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/retry"
)

// tree has branches. Unwrap() []error allows nil ones.
type tree []error

func (tree) Error() string     { return "tree" }
func (t tree) Unwrap() []error { return t }

// hollow unwraps to nil.
type hollow struct{}

func (hollow) Error() string { return "hollow" }
func (hollow) Unwrap() error { return nil }

func TestOf(t *testing.T) {
	again := retry.After(time.Second, nil)
	delayed := retry.After(2*time.Second, errBoom)
	permanent := retry.Permanent(errBoom)
	drop := retry.Drop(errBoom)
	wrap := func(err error) error { return fmt.Errorf("outer: %w", err) }

	tests := []struct {
		name string
		err  error
		want retry.Verdict
	}{
		{"nil", nil, retry.Verdict{}},
		{"plain", errBoom, retry.Verdict{Action: retry.Backoff}},
		{"plain wrapped", wrap(wrap(errBoom)), retry.Verdict{Action: retry.Backoff}},
		{"plain joined", errors.Join(errBoom, io.EOF), retry.Verdict{Action: retry.Backoff}},
		{"unwraps to nil", hollow{}, retry.Verdict{Action: retry.Backoff}},
		{"empty tree", tree{}, retry.Verdict{Action: retry.Backoff}},
		{"quiet", retry.Quietly(errBoom), retry.Verdict{Action: retry.Backoff, Quiet: true}},
		{"quiet around drop", wrap(retry.Quietly(drop)), retry.Verdict{Action: retry.Backoff, Quiet: true}},
		{"after", delayed, retry.Verdict{Action: retry.Delay, Delay: 2 * time.Second}},
		{"after negative", retry.After(-time.Second, errBoom), retry.Verdict{Action: retry.Delay}},
		{"again", again, retry.Verdict{Action: retry.Again, Delay: time.Second}},
		{"again at once", retry.After(0, nil), retry.Verdict{Action: retry.Again}},
		{"again negative", retry.After(-1, nil), retry.Verdict{Action: retry.Again}},
		{"permanent", permanent, retry.Verdict{Action: retry.GiveUp}},
		{"cenkalti", backoff.Permanent(errBoom), retry.Verdict{Action: retry.GiveUp}},
		{"cenkalti empty", &backoff.PermanentError{}, retry.Verdict{Action: retry.GiveUp}},
		{"drop", drop, retry.Verdict{Action: retry.Discard}},

		{"wrapped after", wrap(wrap(delayed)), retry.Verdict{Action: retry.Delay, Delay: 2 * time.Second}},
		{"wrapped again", wrap(again), retry.Verdict{Action: retry.Again, Delay: time.Second}},
		{"wrapped permanent", wrap(permanent), retry.Verdict{Action: retry.GiveUp}},
		{"wrapped cenkalti", wrap(backoff.Permanent(errBoom)), retry.Verdict{Action: retry.GiveUp}},
		{"wrapped drop", wrap(drop), retry.Verdict{Action: retry.Discard}},

		{"permanent around after", retry.Permanent(delayed), retry.Verdict{Action: retry.GiveUp}},
		{"after around permanent", retry.After(3*time.Second, permanent), retry.Verdict{Action: retry.Delay, Delay: 3 * time.Second}},
		{"after around again", retry.After(3*time.Second, again), retry.Verdict{Action: retry.Delay, Delay: 3 * time.Second}},
		{"drop around cenkalti", retry.Drop(backoff.Permanent(errBoom)), retry.Verdict{Action: retry.Discard}},
		{"cenkalti around drop", backoff.Permanent(wrap(drop)), retry.Verdict{Action: retry.GiveUp}},

		{"joined second", errors.Join(errBoom, permanent), retry.Verdict{Action: retry.GiveUp}},
		{"joined leftmost", errors.Join(errBoom, drop, permanent), retry.Verdict{Action: retry.Discard}},
		{"two %w", fmt.Errorf("%w, %w", io.EOF, delayed), retry.Verdict{Action: retry.Delay, Delay: 2 * time.Second}},
		{"depth first", errors.Join(wrap(wrap(errors.Join(io.EOF, drop))), permanent), retry.Verdict{Action: retry.Discard}},
		{"nil branches", tree{nil, nil, permanent}, retry.Verdict{Action: retry.GiveUp}},
		{"marker around join", retry.Drop(errors.Join(permanent, delayed)), retry.Verdict{Action: retry.Discard}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := retry.Of(tt.err); got != tt.want {
				t.Errorf("Of(%v) = %+v, want %+v", tt.err, got, tt.want)
			}
		})
	}
}

func TestOfDoesNotAllocate(t *testing.T) {
	errs := map[string]error{
		"nil":     nil,
		"plain":   errBoom,
		"wrapped": fmt.Errorf("outer: %w", errBoom),
		"joined":  errors.Join(errBoom, retry.Permanent(errBoom)),
	}
	for name, err := range errs {
		var got retry.Verdict
		if n := testing.AllocsPerRun(100, func() { got = retry.Of(err) }); n != 0 {
			t.Errorf("Of(%s) = %v: %v allocations, want 0", name, got, n)
		}
	}
}

func TestActionString(t *testing.T) {
	tests := map[retry.Action]string{
		retry.Finish:     "finish",
		retry.Backoff:    "backoff",
		retry.Delay:      "delay",
		retry.Again:      "again",
		retry.GiveUp:     "give up",
		retry.Discard:    "discard",
		retry.Action(99): "Action(99)",
	}
	for action, want := range tests {
		if got := action.String(); got != want {
			t.Errorf("Action(%d).String() = %q, want %q", uint8(action), got, want)
		}
	}
}
