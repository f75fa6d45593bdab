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
			lease := handler.NewLease(func() {})
			var msgs []handler.Message
			b.ReportAllocs()
			for b.Loop() {
				if len(msgs) == 0 {
					msgs = make([]handler.Message, 32)
				}
				m := &msgs[0]
				msgs = msgs[1:]
				lease.Hold(1)
				m.Init(s, testID, 1, 0, body, time.Second, lease)
				m.Release()
			}
		})
	}
}
