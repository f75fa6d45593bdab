package envelope

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCheckID(t *testing.T) {
	for value, want := range map[string]error{
		"":                                nil,
		"order 7":                         nil,
		strings.Repeat("x", 255):          nil,
		strings.Repeat("x", 256):          ErrID,
		strings.Repeat("é", 127):          nil,
		strings.Repeat("é", 128):          ErrID,
		"a\nb":                            ErrValue,
		"a\x00":                           ErrValue,
		"\x7f":                            ErrValue,
		"\xff":                            ErrValue,
		strings.Repeat("x", 300) + "\x00": ErrID,
	} {
		err := CheckID(Key, value)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%.20q: %v, want %v", value, err, want)
		}
		if e, ok := errors.AsType[*HeaderError](err); want != nil && (!ok || e.Key != Key || strings.Contains(err.Error(), "xxx")) {
			t.Errorf("%.20q: %v", value, err)
		}
	}
}

func TestTimes(t *testing.T) {
	now := time.Now()
	for _, at := range []time.Time{now, now.UTC(), now.Add(MaxAhead - time.Minute), time.Unix(0, 1), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), {}} {
		got, err := ParseTime(NotBefore, FormatTime(at))
		if err != nil || !got.Equal(at) {
			t.Errorf("%v: got %v, %v", at, got, err)
		}
	}
	if got := FormatTime(time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.FixedZone("", 3600))); got != "2026-01-02T02:04:05.6Z" {
		t.Errorf("got %s", got)
	}
	for _, text := range []string{"", "x", "2026-01-02", "2026-01-02T03:04:05", "9999-12-31T23:59:59Z", FormatTime(now.Add(MaxAhead + time.Minute)), strings.Repeat("2", 300)} {
		got, err := ParseTime(Expires, text)
		if e, ok := errors.AsType[*HeaderError](err); !ok || e.Key != Expires || e.Err != ErrTime || !got.IsZero() {
			t.Errorf("%.20s: got %v, %v", text, got, err)
		}
		if text != "" && len(text) > 10 && strings.Contains(err.Error(), text) {
			t.Errorf("the error has the value: %v", err)
		}
	}
}

// TestGrow: headers within the room need no allocation.
func TestGrow(t *testing.T) {
	var w Writer
	w.Grow(3)
	if n := testing.AllocsPerRun(1, func() {
		for _, key := range []string{"a", "b", "c"} {
			if err := w.Set(key, "1"); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
