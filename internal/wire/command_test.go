package wire_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

func TestCommands(t *testing.T) {
	id := wire.ID([]byte(id1))
	for _, tc := range []struct {
		name   string
		append func(dst []byte) []byte
		want   string
	}{
		{"FIN", func(b []byte) []byte { return wire.AppendFIN(b, &id) }, "FIN 0123456789abcdef\n"},
		{"REQ", func(b []byte) []byte { return wire.AppendREQ(b, &id, 1500) }, "REQ 0123456789abcdef 1500\n"},
		{"REQ at once", func(b []byte) []byte { return wire.AppendREQ(b, &id, 0) }, "REQ 0123456789abcdef 0\n"},
		{"REQ max", func(b []byte) []byte { return wire.AppendREQ(b, &id, math.MaxInt64) }, "REQ 0123456789abcdef 9223372036854775807\n"},
		{"TOUCH", func(b []byte) []byte { return wire.AppendTOUCH(b, &id) }, "TOUCH 0123456789abcdef\n"},
		{"RDY", func(b []byte) []byte { return wire.AppendRDY(b, 2500) }, "RDY 2500\n"},
		{"RDY 0", func(b []byte) []byte { return wire.AppendRDY(b, 0) }, "RDY 0\n"},
		{"NOP", wire.AppendNOP, "NOP\n"},
		{"CLS", wire.AppendCLS, "CLS\n"},
		{"SUB", func(b []byte) []byte { return wire.AppendSUB(b, "orders", "billing#ephemeral") }, "SUB orders billing#ephemeral\n"},
		{"IDENTIFY", func(b []byte) []byte { return wire.AppendIDENTIFY(b, []byte(`{"a":1}`)) }, "IDENTIFY\n\x00\x00\x00\x07" + `{"a":1}`},
		{"AUTH", func(b []byte) []byte { return wire.AppendAUTH(b, "s3cret\n") }, "AUTH\n\x00\x00\x00\x07s3cret\n"},
		{"PUB", func(b []byte) []byte { return wire.AppendPUB(b, "orders", []byte("a\nb")) }, "PUB orders\n\x00\x00\x00\x03a\nb"},
		{"DPUB", func(b []byte) []byte { return wire.AppendDPUB(b, "orders", 250, []byte("ab")) }, "DPUB orders 250\n\x00\x00\x00\x02ab"},
		{"MPUB", func(b []byte) []byte { return wire.AppendMPUB(b, "orders", [][]byte{[]byte("a"), []byte("bcd")}) },
			"MPUB orders\n\x00\x00\x00\x10\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x03bcd"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			equal(t, "from nil", string(tc.append(nil)), tc.want)
			dst := make([]byte, 3, 200)
			copy(dst, "xyz")
			got := tc.append(dst)
			equal(t, "after other bytes", string(got), "xyz"+tc.want)
			equal(t, "in place", &got[0], &dst[0])
			equal(t, "grown", string(tc.append([]byte("xyz")[:3:3])), "xyz"+tc.want)
		})
	}
	equal(t, "magic", []byte(wire.Magic), []byte{' ', ' ', 'V', '2'})
}

func TestNames(t *testing.T) {
	for _, tc := range []struct{ name, reason string }{
		{"a", ""},
		{"orders.v1_A-9", ""},
		{"a#ephemeral", ""},
		{"ephemeral", ""},
		{strings.Repeat("a", 64), ""},
		{strings.Repeat("a", 54) + "#ephemeral", ""},
		{"", "is empty"},
		{strings.Repeat("a", 65), "is 65 bytes long"},
		{strings.Repeat("a", 55) + "#ephemeral", "is 65 bytes long"},
		{strings.Repeat("a", 1<<20), "is 1048576 bytes long"},
		{"#ephemeral", "has nothing before #ephemeral"},
		{"a#ephemeral#ephemeral", `has "#" at byte 1`},
		{"a#Ephemeral", `has "#" at byte 1`},
		{"a#ephemeralx", `has "#" at byte 1`},
		{"a b", `has " " at byte 1`},
		{"a\n", `has "\n" at byte 1`},
		{"a\nFIN 0123456789abcdef", `has "\n" at byte 1`},
		{"a/b", `has "/" at byte 1`},
		{"é", `has "\xc3" at byte 0`},
		{"a\x00", `has "\x00" at byte 1`},
	} {
		for kind, check := range map[string]func(string) error{"topic": wire.CheckTopic, "channel": wire.CheckChannel} {
			err := check(tc.name)
			if tc.reason == "" {
				equal(t, kind+" "+tc.name, err, nil)
				continue
			}
			equal(t, kind, err, error(&wire.NameError{Kind: kind, Name: tc.name, Reason: tc.reason}))
			says(t, err, "nsqx: "+kind+` "`, tc.reason, `1 to 64 of [.a-zA-Z0-9_-], the last ten may be "#ephemeral"`)
			if n := len(err.Error()); n > 400 {
				t.Errorf("error of %d bytes for a name of %d", n, len(tc.name))
			}
		}
	}
}

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
		{"as many bytes as fit", of(10, 10), 10, 32, nil, ""},
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

// What CheckBodies counts is what AppendMPUB writes, so that nsqd and nsqx agree to the byte.
func TestCheckBodiesCountsWhatIsSent(t *testing.T) {
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
