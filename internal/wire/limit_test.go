package wire_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

func TestCheckBody(t *testing.T) {
	for _, tc := range []struct {
		len, max int
		says     string
	}{
		{1, 10, ""},
		{10, 10, ""},
		{0, 10, "nsqx: body: empty"},
		{11, 10, "nsqx: body: 11 bytes, above the limit of 10"},
	} {
		err := wire.CheckBody(make([]byte, tc.len), tc.max)
		if tc.says == "" {
			equal(t, "error", err, nil)
			continue
		}
		equal(t, "error", err, error(&wire.BodyError{Len: tc.len, Max: tc.max, Kind: "body"}))
		says(t, err, tc.says)
	}
	says(t, wire.CheckBody(nil, 10), "nsqx: body: empty")
	says(t, &wire.BodyError{}, "nsqx: body: empty")
}

func TestCheckBodies(t *testing.T) {
	of := func(lens ...int) (bodies [][]byte) {
		for _, n := range lens {
			bodies = append(bodies, make([]byte, n))
		}
		return bodies
	}
	for _, tc := range []struct {
		name         string
		bodies       [][]byte
		max, maxBody int
		want         *wire.BodyError
		says         string
	}{
		{"one", of(1), 10, 100, nil, ""},
		{"at the limit", of(10, 10), 10, 32, nil, ""},
		{"none", nil, 10, 100, &wire.BodyError{Max: 100, Kind: "bodies"}, "nsqx: bodies: empty"},
		{"an empty one", of(1, 0, 1), 10, 100, &wire.BodyError{Max: 10, Kind: "bodies[1]"}, "nsqx: bodies[1]: empty"},
		{"one too long", of(1, 1, 11), 10, 100, &wire.BodyError{Len: 11, Max: 10, Kind: "bodies[2]"}, "nsqx: bodies[2]: 11 bytes, above the limit of 10"},
		{"too long together", of(10, 10), 10, 31, &wire.BodyError{Len: 32, Max: 31, Kind: "bodies"}, "nsqx: bodies: 32 bytes, above the limit of 31"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := wire.CheckBodies(tc.bodies, tc.max, tc.maxBody)
			if tc.want == nil {
				equal(t, "error", err, nil)
				line := []byte("MPUB t\n")
				equal(t, "fits as encoded", len(wire.AppendMPUB(nil, "t", tc.bodies))-len(line)-4 <= tc.maxBody, true)
				return
			}
			equal(t, "error", err, error(tc.want))
			says(t, err, tc.says)
		})
	}
}

// CheckBodies counts the bytes that AppendMPUB writes.
func TestCheckBodiesCountsMPUB(t *testing.T) {
	bodies := [][]byte{[]byte("a"), bytes.Repeat([]byte("b"), 300), []byte("cd")}
	sent := len(wire.AppendMPUB(nil, "t", bodies)) - len("MPUB t\n") - 4
	equal(t, "at the limit", wire.CheckBodies(bodies, 300, sent), nil)
	says(t, wire.CheckBodies(bodies, 300, sent-1), "above the limit")
}

func TestCheckDelay(t *testing.T) {
	for _, tc := range []struct {
		ms, max int64
		says    string
	}{
		{0, 3_600_000, ""},
		{3_600_000, 3_600_000, ""},
		{-1, 3_600_000, "nsqx: delay of -1 ms is negative"},
		{math.MinInt64, 3_600_000, "is negative"},
		{3_600_001, 3_600_000, "nsqx: delay of 3600001 ms is above the limit of 3600000 ms"},
	} {
		err := wire.CheckDelay(tc.ms, tc.max)
		if tc.says == "" {
			equal(t, "error", err, nil)
			continue
		}
		equal(t, "error", err, error(&wire.DelayError{MS: tc.ms, Max: tc.max}))
		says(t, err, tc.says)
	}
}
