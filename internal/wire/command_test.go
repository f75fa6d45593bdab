// Tests of command.go and publish.go. See also publish_test.go.

package wire_test

import (
	"math"
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
