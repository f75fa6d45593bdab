package retry_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/nsqx/nsqx/retry"
)

// codeError is an error without a pointer, which As must find too.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("code %d", int(e)) }

func TestMatch(t *testing.T) {
	none := func(error) error { return nil }
	mapper := retry.Match(
		nil,
		none,
		retry.Is(sql.ErrNoRows, retry.Permanent),
		retry.Is(io.EOF, retry.Drop),
		retry.Is(io.ErrUnexpectedEOF, func(err error) error { return retry.After(time.Second, err) }),
		retry.As(func(e *quotaError) error { return retry.After(e.wait, e) }),
		retry.As(func(e codeError) error {
			if e < 500 {
				return retry.Permanent(e)
			}
			return nil
		}),
		retry.As(func(e codeError) error { return retry.After(0, nil) }),
		retry.Is(sql.ErrNoRows, retry.Drop), // too late
	)
	tests := []struct {
		name string
		err  error
		want retry.Verdict
	}{
		{"is, permanent", fmt.Errorf("load: %w", sql.ErrNoRows), retry.Verdict{Action: retry.GiveUp}},
		{"is, drop", io.EOF, retry.Verdict{Action: retry.Discard}},
		{"is, after", io.ErrUnexpectedEOF, retry.Verdict{Action: retry.Delay, Delay: time.Second}},
		{"as pointer", fmt.Errorf("call: %w", &quotaError{time.Minute}), retry.Verdict{Action: retry.Delay, Delay: time.Minute}},
		{"as value", errors.Join(errBoom, codeError(404)), retry.Verdict{Action: retry.GiveUp}},
		{"nil result, next mapper", codeError(503), retry.Verdict{Action: retry.Again}},
		{"order of mappers, not of errors", errors.Join(io.EOF, sql.ErrNoRows), retry.Verdict{Action: retry.GiveUp}},
		{"mapper over marker", retry.Drop(sql.ErrNoRows), retry.Verdict{Action: retry.GiveUp}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := retry.Of(mapper(tt.err)); got != tt.want {
				t.Errorf("Of(mapper(%v)) = %+v, want %+v", tt.err, got, tt.want)
			}
		})
	}
	for _, err := range []error{nil, errBoom, fmt.Errorf("outer: %w", errBoom), retry.Permanent(errBoom)} {
		if got := mapper(err); got != nil {
			t.Errorf("mapper(%v) = %v, want nil", err, got)
		}
	}
}

func TestMatchNothing(t *testing.T) {
	for name, mapper := range map[string]func(error) error{
		"no mappers":  retry.Match(),
		"nil mappers": retry.Match(nil, nil),
		"nil wraps":   retry.Match(retry.Is(errBoom, nil), retry.As[*quotaError](nil)),
	} {
		if got := mapper(errBoom); got != nil {
			t.Errorf("%s: returns %v, want nil", name, got)
		}
	}
}

func TestNilWrapIsNilMapper(t *testing.T) {
	if retry.Is(errBoom, nil) != nil {
		t.Error("Is with a nil wrap is a mapper, want nil")
	}
	if retry.As[*quotaError](nil) != nil {
		t.Error("As with a nil wrap is a mapper, want nil")
	}
}

// errors.Is(nil, nil) is true, but a mapper must not turn a success into a failure.
func TestIsNeverMatchesNil(t *testing.T) {
	again := func(error) error { return retry.After(0, nil) }
	for _, err := range []error{nil, errBoom} {
		if got := retry.Is(nil, again)(err); got != nil {
			t.Errorf("Is(nil, …)(%v) = %v, want nil", err, got)
		}
	}
	if got := retry.Is(errBoom, again)(nil); got != nil {
		t.Errorf("Is(errBoom, …)(nil) = %v, want nil", got)
	}
}

func TestIsWrapsWholeErrorAsTheOneFound(t *testing.T) {
	outer := fmt.Errorf("load: %w", sql.ErrNoRows)
	if got, want := retry.Is(sql.ErrNoRows, retry.Permanent)(outer).Error(), "permanent: load: "+sql.ErrNoRows.Error(); got != want {
		t.Errorf("Is: %q, want %q", got, want)
	}
	inner := &quotaError{}
	identity := func(e *quotaError) error { return e }
	if got := retry.As(identity)(fmt.Errorf("call: %w", inner)); got != error(inner) {
		t.Errorf("As: wrap was given %v, want the *quotaError itself", got)
	}
}
