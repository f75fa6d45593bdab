package conn_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// TestSlowLink: a publish that takes long to write is no dead connection, and nsqd's time to answer
// begins when it is written.
func TestSlowLink(t *testing.T) {
	const size, perSecond = 1 << 20, 24 << 10 // about 200 kbit/s
	line := len("PUB orders\n") + 4
	for _, timeout := range []time.Duration{time.Second, 30 * time.Second} {
		for answered := range 2 {
			bubbles(t, fmt.Sprintf("timeout %v, answered %v", timeout, answered == 1), func(t *testing.T) {
				s := openStream(t, streamOptions{publish: true, cfg: conn.Config{PublishTimeout: timeout}})
				s.tap.SetBuffer(1000)
				results := make(chan error, 2)
				n := 1 + answered
				for range n {
					go func() {
						results <- s.Publish(t.Context(), &conn.Pub{Topic: "orders", Bodies: [][]byte{make([]byte, size)}, Alone: true})
					}()
				}
				took := time.Duration(0)
				for i := range n {
					for left := size + line; left > 0; {
						n, err := s.p.Conn.Read(make([]byte, min(left, perSecond)))
						if err != nil {
							t.Fatalf("after %v: %v", time.Since(s.start), s.wait())
						}
						left -= n
						time.Sleep(time.Duration(n) * time.Second / perSecond)
					}
					if took = time.Since(s.start); took < time.Duration(i+1)*40*time.Second {
						t.Fatalf("it took only %v", took)
					}
					if answered == 1 {
						s.p.Response("OK")
						if err := <-results; err != nil {
							t.Fatalf("publish: %v", err)
						}
					}
				}
				if answered == 0 {
					s.p.Heartbeat() // nsqd is not silent
					wantIs(t, s.broken(conn.PhaseStream), conn.ErrPublishTimeout)
					if s.at < took-2*time.Second+timeout-time.Second || s.at > took+timeout {
						t.Errorf("it ended after %v; the last byte was written at %v", s.at, took)
					}
				}
				synctest.Wait()
			})
		}
	}
}

// TestFrozenLink: a large publish does not keep a dead connection alive: each part has its deadline.
func TestFrozenLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true})
		s.tap.SetBuffer(1000)
		result := make(chan error, 1)
		go func() {
			result <- s.Publish(t.Context(), &conn.Pub{Topic: "orders", Bodies: [][]byte{make([]byte, 1<<20)}})
		}()
		if n, err := s.p.Conn.Read(make([]byte, 500)); err != nil || n == 0 {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		go func() { // nsqd is not silent
			defer close(stop)
			for s.p.WriteErr() == nil {
				s.p.Heartbeat()
				time.Sleep(time.Second)
			}
		}()
		wantIs(t, s.failed(conn.PhaseStream, beat+beat/4), conn.ErrSilent)
		wantKind(t, <-result, conn.ErrUnconfirmed)
		<-stop
	})
}
