package nsqxtest

import (
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// Received waits until clients have published n messages to a topic, and returns the first n,
// decoded by codec (any codec.Codec[T]) and without their envelopes. Messages published by
// [Server.Publish] do not count. It fails the test after the time of [WithPatience], or if a
// message does not decode. Call it from the goroutine of the test.
func Received[T any](tb testing.TB, s *Server, topic string, codec handler.Decoder[T], n int) []T {
	tb.Helper()
	var bodies [][]byte
	if !s.wait(s.cfg.waitTimeout, func() bool {
		bodies = bodies[:0]
		if t := s.topics[topic]; t != nil {
			for _, p := range t.published {
				bodies = append(bodies, p.Body)
			}
		}
		return len(bodies) >= n
	}) {
		tb.Fatalf("nsqxtest: %s: clients have published %d messages to %s within %v, want %d", s.Addr(), len(bodies), topic, s.cfg.waitTimeout, n)
	}
	values := make([]T, n)
	for i := range values {
		_, payload, err := envelope.Split(bodies[i])
		if err != nil {
			tb.Fatalf("nsqxtest: %s: message %d of %s: %v", s.Addr(), i+1, topic, err)
		}
		v, err := codec.Decode(payload)
		if err != nil {
			tb.Fatalf("nsqxtest: %s: message %d of %s does not decode: %v", s.Addr(), i+1, topic, err)
		}
		values[i] = v
	}
	return values
}
