package conn_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/conn"
)

// TestBuffers checks that a write of as many publishes as go together leaves its buffer for the next
// one, that one command beyond that does not, and that heartbeats without large writes free it.
func TestBuffers(t *testing.T) {
	for name, c := range map[string]struct {
		commands, bytes int
		kept            bool
	}{
		"full write":      {60, 20_000, true},
		"few publishes":   {3, 20_000, true},
		"a large command": {1, 5 << 20, false},
	} {
		bubbles(t, name, func(t *testing.T) {
			const mpub = 10
			s := publishing(t, conn.Config{MaxBodySize: 20 << 20})
			body := []byte(strings.Repeat("x", c.bytes/mpub))
			p := &conn.Pub{Topic: "orders"}
			for range mpub {
				p.Bodies = append(p.Bodies, body)
			}
			round := func() {
				open := s.tap.holdWrites()
				var results []<-chan error
				for range c.commands {
					results = append(results, s.send(t.Context(), p))
				}
				open()
				for _, r := range results {
					if cmd := s.p.Expect("MPUB"); len(cmd.Body) < c.bytes {
						t.Fatalf("MPUB of %d bytes", len(cmd.Body))
					}
					s.p.Response("OK")
					wantResult(t, r, nil)
				}
			}
			round()
			round()
			r := s.publish(t.Context(), "x") // its write gives the buffer of the last one back
			s.p.Expect("PUB")
			s.p.Response("OK")
			wantResult(t, r, nil)
			if queued, spare := s.Buffers(); (max(queued, spare) > c.bytes) != c.kept {
				t.Errorf("buffers of %d and %d bytes after writes of commands of %d, want one kept: %t", queued, spare, c.bytes, c.kept)
			}
			for range 4 {
				s.wantPublished()
			}
			if queued, spare := s.Buffers(); max(queued, spare) > 512 {
				t.Errorf("buffers of %d and %d bytes while idle", queued, spare)
			}
			round()
		})
	}
}

// TestBuffersDuringWrite checks that a heartbeat during a write leaves its bytes as they are.
func TestBuffersDuringWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		const n = 100_000
		for i := range 6 {
			body := fmt.Sprint(i) + strings.Repeat("x", n)
			r := s.publish(t.Context(), body)
			for range 3 {
				s.p.Heartbeat() // NOPs fill the other buffer
				synctest.Wait()
			}
			if cmd := s.p.Expect("PUB"); string(cmd.Body) != body {
				t.Errorf("heard %.20q of %d bytes", cmd.Body, len(cmd.Body))
			}
			s.p.Response("OK")
			wantResult(t, r, nil)
		}
	})
}
