package conn_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPokeAfterAnswers: it is the answers that make room, without an RDY of their own: nsqd may be buffering from then on.
func TestPokeAfterAnswers(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 4)
		first := uint64(1)
		s.backlog(&first, 20)
		s.wantRDY(4, 4)
		msgs := s.deliver(first, 4)
		time.Sleep(10 * time.Millisecond) // nsqd can send nothing: there is no need for a poke
		s.wantRDY(4, 4)
		for _, m := range msgs {
			s.Finish(m)
			synctest.Wait()
		}
		time.Sleep(10 * time.Millisecond)
		s.wantRDY(4, 1)
	})
}
