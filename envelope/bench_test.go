// Benchmarks of split.go, header.go and writer.go.

package envelope_test

import (
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/check"
)

var plain = []byte(`{"id":7,"amount":100}`)

// The cost of a body without an envelope for a consumer. The target is 5 ns.
func BenchmarkSplitPlain(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, payload, err := envelope.Split(plain); err != nil || len(payload) != len(plain) {
			b.Fatal(err)
		}
	}
}

func BenchmarkIs(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if envelope.Is(plain) {
			b.Fatal("a plain body")
		}
	}
}

// The target is 20 ns.
func BenchmarkSplitExample(b *testing.B) {
	body := golden(string(plain))
	b.ReportAllocs()
	for b.Loop() {
		if _, payload, err := envelope.Split(body); err != nil || len(payload) != len(plain) {
			b.Fatal(err)
		}
	}
}

func BenchmarkSplitFullHeader(b *testing.B) {
	w := writer(b, "traceparent", traceparent, "tracestate", "vendor=value", "baggage", string(make4k()))
	body := w.AppendTo(nil, plain)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, _, err := envelope.Split(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeaderGet(b *testing.B) {
	h, _, err := envelope.Split(raw("", "tenant", "acme", "traceparent", traceparent))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := h.Get("traceparent"); !ok {
			b.Fatal("no traceparent")
		}
	}
}

func BenchmarkAppendTo(b *testing.B) {
	w := writer(b, "traceparent", traceparent)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = w.AppendTo(dst[:0], plain)
	}
	check.Want(b, "bytes", len(dst), 76+len(plain))
}

func BenchmarkWriterSet(b *testing.B) {
	var w envelope.Writer
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Set("traceparent", traceparent); err != nil {
			b.Fatal(err)
		}
	}
}

func make4k() []byte {
	value := make([]byte, 3800)
	for i := range value {
		value[i] = 'a' + byte(i%26)
	}
	return value
}
