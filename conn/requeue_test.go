package conn_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// TestRequeueDelayHint: an nsqd up to 1.0.0 says which delay of a REQ is too long.
func TestRequeueDelayHint(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"E_INVALID REQ timeout 7200000000000 out of range 0-3600000000000": time.Hour,
		"E_INVALID REQ timeout 2000000 out of range 0-1999999":             time.Millisecond,
		"E_INVALID REQ timeout 1 out of range 0-0":                         0,
		"E_INVALID REQ timeout 1 out of range 0-999999":                    0,
		"E_INVALID REQ timeout 1 out of range 0--5":                        0,
		"E_INVALID REQ timeout 1 out of range 0-99999999999999999999":      0,
		"E_INVALID REQ timeout 1 out of range 0-1000000000 ":               0,
		"E_INVALID REQ timeout":                                            0,
		"E_INVALID DPUB timeout 1 out of range 0-3600000000000":            0,
		"E_BAD_BODY REQ timeout 7200000000000 out of range 0-3600000":      0,
	} {
		bubbles(t, text, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			s.p.Error(text)
			err := s.failed(conn.PhaseStream, 0)
			hint, ok := errors.AsType[*conn.RequeueDelayError](err)
			if ok != (want > 0) || ok && (hint.Max != want || err.Permanent() || !strings.Contains(err.Error(), "WithMaxRequeueDelay")) {
				t.Errorf("error is %v", err)
			}
			if !isErr[*conn.ServerError](err) {
				t.Errorf("error is %v, want nsqd's", err)
			}
		})
	}
}

// TestMaxRequeueDelay: a delay is rounded up to milliseconds, and cut.
func TestMaxRequeueDelay(t *testing.T) {
	for most, delays := range map[time.Duration]map[time.Duration]int64{
		0: {
			-1: 0, 0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Hour: 3_600_000,
			math.MaxInt64: math.MaxInt64/1_000_000 + 1,
		},
		time.Second: {0: 0, 1: 1, time.Second - 1: 1000, time.Second: 1000, time.Second + 1: 1000, math.MaxInt64: 1000},
	} {
		bubbles(t, most.String(), func(t *testing.T) {
			sub := *orders
			sub.MaxRequeueDelay = most
			s := openStream(t, streamOptions{sub: &sub})
			n := uint64(0)
			for delay, ms := range delays {
				n++
				s.Requeue(s.message(n), delay)
				s.wantSent(req(n, ms))
			}
		})
	}
	sub := *orders
	sub.MaxRequeueDelay = -1
	if err := sub.Validate(); !isErr[*conn.ConfigError](err) {
		t.Errorf("a negative one: %v", err)
	}
}
