package retry_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nsqx/nsqx/retry"
)

func TestMarkersWrap(t *testing.T) {
	cause := &quotaError{wait: time.Minute}
	for name, err := range map[string]error{
		"Permanent": retry.Permanent(cause),
		"Quietly":   retry.Quietly(cause),
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
	if err := retry.Quietly(nil); err != nil {
		t.Errorf("Quietly(nil) = %v, want nil", err)
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
		{retry.Quietly(errBoom), "boom"},
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

// TestAfterQuietly: the verdict is that of After, and quiet.
func TestAfterQuietly(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("outer: %w", retry.AfterQuietly(-1, cause))
	if v := retry.Of(err); v != (retry.Verdict{Action: retry.Delay, Quiet: true}) || !errors.Is(err, cause) {
		t.Errorf("verdict is %+v of %v", v, err)
	}
	if v := retry.Of(retry.AfterQuietly(time.Second, nil)); v != (retry.Verdict{Action: retry.Again, Delay: time.Second}) {
		t.Errorf("verdict is %+v", v)
	}
}
