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

var errBoom = errors.New("boom")

// tree has branches of which some are nil, as Unwrap() []error allows.
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

func TestMarkersWrap(t *testing.T) {
	cause := &quotaError{wait: time.Minute}
	for name, err := range map[string]error{
		"Permanent": retry.Permanent(cause),
		"Drop":      retry.Drop(cause),
		"After":     retry.After(time.Second, cause),
	} {
		if !errors.Is(err, cause) {
			t.Errorf("%s: errors.Is does not find the cause", name)
		}
		if found, ok := errors.AsType[*quotaError](err); !ok || found != cause {
			t.Errorf("%s: errors.As finds %v, want %v", name, found, cause)
		}
		if got := errors.Unwrap(err); got != error(cause) {
			t.Errorf("%s: Unwrap = %v, want %v", name, got, cause)
		}
	}
	if got := errors.Unwrap(retry.After(time.Second, nil)); got != nil {
		t.Errorf("Unwrap(After(d, nil)) = %v, want nil", got)
	}
}

func TestMarkersOfNil(t *testing.T) {
	if err := retry.Permanent(nil); err != nil {
		t.Errorf("Permanent(nil) = %v, want nil", err)
	}
	if err := retry.Drop(nil); err != nil {
		t.Errorf("Drop(nil) = %v, want nil", err)
	}
	if err := retry.After(0, nil); err == nil {
		t.Error("After(0, nil) = nil, which would finish the message")
	}
}

func TestMarkersPrint(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{retry.Permanent(errBoom), "permanent: boom"},
		{retry.Drop(errBoom), "drop: boom"},
		{retry.After(90*time.Second, errBoom), "after 1m30s: boom"},
		{retry.After(-1, errBoom), "after 0s: boom"},
		{retry.After(5*time.Second, nil), "nsqx: again after 5s"},
		{retry.Permanent(fmt.Errorf("charge: %w", retry.Drop(errBoom))), "permanent: charge: drop: boom"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
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
