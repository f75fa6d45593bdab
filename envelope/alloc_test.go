// Allocations of Split, Header and Writer.

package envelope_test

import (
	"testing"

	"github.com/nsqx/nsqx/envelope"
)

func TestAllocations(t *testing.T) {
	body := golden("payload")
	plain := []byte(`{"id":7}`)
	wantAllocs(t, "Split of a plain body", 0, func() { _, _, _ = envelope.Split(plain) })
	wantAllocs(t, "Split", 0, func() { _, _, _ = envelope.Split(body) })
	h, _, _ := envelope.Split(body)
	wantAllocs(t, "Get", 0, func() { h.Get("traceparent") })
	wantAllocs(t, "Get in another case", 0, func() { h.Get("TraceParent") })

	var w envelope.Writer
	wantErr(t, "Set", w.Set("traceparent", traceparent), nil)
	wantAllocs(t, "Set again", 0, func() { _ = w.Set("traceparent", traceparent) })
	wantAllocs(t, "Size", 0, func() { w.Size(plain) })
	wantAllocs(t, "AppendTo without capacity", 2, func() { w.AppendTo(nil, plain) }) // 1 unless slices.Grow is not inlined, as under -race
	dst := make([]byte, 0, 256)
	wantAllocs(t, "AppendTo", 0, func() { w.AppendTo(dst, plain) })
}
