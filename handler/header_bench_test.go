package handler_test

import (
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// What a read loop pays for a message, and Release after it.
func BenchmarkInit(b *testing.B) {
	s := newSource(b)
	for name, body := range map[string]string{
		"plain":    `{"id":7,"amount":100}`,
		"envelope": sealed(b, `{"id":7,"amount":100}`, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
	} {
		b.Run(name, func(b *testing.B) {
			body := []byte(body)
			const together = 32
			var msgs []handler.Message
			var reads []handler.Read
			b.ReportAllocs()
			for b.Loop() {
				if len(msgs) == 0 {
					msgs = make([]handler.Message, together)
					reads = make([]handler.Read, together)
				}
				m, r := &msgs[0], &reads[0]
				msgs, reads = msgs[1:], reads[1:]
				r.Source, r.At = s, time.Second
				(*handler.Delivery)(m).Init(r, testID, 1, 0, body)
				(*handler.Delivery)(m).Release()
			}
		})
	}
}
