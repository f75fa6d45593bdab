package nsqxtest

import (
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// Received waits until clients have published n messages to a topic of the server, and returns the first n, decoded by
// codec (any codec.Codec[T] is one), without the envelope that headers are in. What the test itself has published does not count. It fails the test, from whose
// goroutine it must be called, when that takes longer than [WithPatience], or when one does not decode.
func Received[T any](tb testing.TB, s *Server, topic string, codec handler.Decoder[T], n int) []T {
	tb.Helper()
	var bodies [][]byte
	if !s.wait(s.cfg.patience, func() bool {
		bodies = bodies[:0]
		if t := s.topics[topic]; t != nil {
			for _, p := range t.published {
				bodies = append(bodies, p.Body)
			}
		}
		return len(bodies) >= n
	}) {
		tb.Fatalf("nsqxtest: %s: clients have published %d messages to %s within %v, want %d", s.cfg.addr, len(bodies), topic, s.cfg.patience, n)
	}
	values := make([]T, n)
	for i := range values {
		_, payload, err := envelope.Split(bodies[i])
		if err != nil {
			tb.Fatalf("nsqxtest: %s: message %d of %s: %v", s.cfg.addr, i+1, topic, err)
		}
		v, err := codec.Decode(payload)
		if err != nil {
			tb.Fatalf("nsqxtest: %s: message %d of %s does not decode: %v", s.cfg.addr, i+1, topic, err)
		}
		values[i] = v
	}
	return values
}
