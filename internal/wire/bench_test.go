package wire_test

import (
	"bytes"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

func BenchmarkNextFrame(b *testing.B) {
	stream := encodeFrame(wire.FrameMessage, encodeMessage(5, 1, id1, string(make([]byte, 200))))
	b.ReportAllocs()
	for b.Loop() {
		wire.NextFrame(stream, 1<<20)
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	data := encodeMessage(5, 1, id1, string(make([]byte, 200)))
	b.ReportAllocs()
	for b.Loop() {
		wire.DecodeMessage(data)
	}
}

func BenchmarkAppendFIN(b *testing.B) {
	id := wire.ID([]byte(id1))
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.AppendFIN(dst[:0], &id)
	}
}

func BenchmarkAppendREQ(b *testing.B) {
	id := wire.ID([]byte(id1))
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.AppendREQ(dst[:0], &id, 1500)
	}
}

func BenchmarkCheckTopic(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		wire.CheckTopic("orders.created.v1#ephemeral")
	}
}

// One operation handles one message: find its frame in a 64 KB read, decode it, append its FIN.
func BenchmarkMessage(b *testing.B) {
	one := encodeFrame(wire.FrameMessage, encodeMessage(5, 1, id1, string(make([]byte, 200))))
	read := bytes.Repeat(one, 64<<10/len(one))
	dst := make([]byte, 0, len(read))
	rest := read
	b.ReportAllocs()
	for b.Loop() {
		if len(rest) == 0 {
			rest, dst = read, dst[:0]
		}
		_, data, n, _, err := wire.NextFrame(rest, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		_, _, id, _, err := wire.DecodeMessage(data)
		if err != nil {
			b.Fatal(err)
		}
		dst = wire.AppendFIN(dst, &id)
		rest = rest[n:]
	}
}
