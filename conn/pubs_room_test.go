package conn_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of the limits in pubs.go.

// messages returns a Pub of n bodies of size bytes.
func messages(n, size int) *conn.Pub {
	p := &conn.Pub{Topic: "orders"}
	for range n {
		p.Bodies = append(p.Bodies, []byte(strings.Repeat("x", size)))
	}
	return p
}

// drain reads and discards commands.
func (s *stream) drain() (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := s.p.Next(); err != nil {
				return
			}
		}
	}()
	return func() { <-done }
}

// TestRoom checks that a publish waits while 16384 messages or 16 MiB are unanswered, until half of
// that is answered.
func TestRoom(t *testing.T) {
	const n, half = 2, 1 // commands
	for name, c := range map[string]struct{ each, size int }{
		"messages": {8192, 10},
		"bytes":    {8, 1<<20 - 4},
	} {
		bubbles(t, name, func(t *testing.T) {
			s := publishing(t, conn.Config{PublishTimeout: time.Hour, MaxBodySize: 9 << 20})
			defer s.drain()()
			defer s.stop()
			each := c.each
			var sent []<-chan error
			for range n {
				sent = append(sent, s.send(t.Context(), messages(each, c.size)))
			}
			if got := s.Unanswered(); got != each*n {
				t.Fatalf("%d unanswered, want %d", got, each*n)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := s.Publish(ctx, pub("orders", "x"))
			wantKind(t, err, conn.ErrNotSent)
			wantIs(t, err, context.DeadlineExceeded)
			waiting := []<-chan error{s.publish(t.Context(), "x"), s.publishTo(t.Context(), "mail", "y")}
			for i := range half {
				if got := s.Unanswered(); got != each*(n-i) {
					t.Fatalf("%d unanswered after %d answers", got, i)
				}
				s.p.Response("OK")
				wantResult(t, sent[i], nil)
			}
			if got, want := s.Unanswered(), each*(n-half)+2; got != want {
				t.Errorf("%d unanswered, want %d: those that have waited are sent", got, want)
			}
			for range n - half + 2 {
				s.p.Response("OK")
				synctest.Wait()
			}
			wantResult(t, waiting[0], nil)
			wantResult(t, waiting[1], nil)
		})
	}
}

// TestRoomForLargePublish checks that a large publish proceeds beside a stream of small ones,
// although there may never be room for all of it.
func TestRoomForLargePublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{PublishTimeout: time.Hour})
		quit := make(chan struct{})
		go func() { // answers each command a second later
			for {
				cmd, err := s.p.Next()
				if err != nil {
					return
				}
				if strings.HasSuffix(cmd.Name, "PUB") {
					time.AfterFunc(time.Second, func() { s.p.Conn.Write(fake.Frame(fake.FrameResponse, []byte("OK"))) })
				}
			}
		}()
		go func() { // keeps something unanswered
			for {
				select {
				case <-quit:
					return
				case <-time.After(100 * time.Millisecond):
					go func() { _ = s.Publish(t.Context(), pub("orders", "x")) }()
				}
			}
		}()
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Publish(ctx, messages(5000, 1)); err != nil {
			t.Errorf("Publish returned %v", err)
		}
		close(quit)
		time.Sleep(5 * time.Second)
		s.stop()
	})
}

// TestRoomAtEnd checks that a publish that waits for room when the connection ends is not sent.
func TestRoomAtEnd(t *testing.T) {
	for name, end := range map[string]func(s *stream){
		"aborted":     func(s *stream) { s.Abort(errReason) },
		"lost":        func(s *stream) { s.p.Close() },
		"half-closed": func(s *stream) { s.CloseWrite() },
	} {
		bubbles(t, name, func(t *testing.T) {
			s := publishing(t, conn.Config{})
			defer s.drain()()
			defer s.stop()
			sent := s.send(t.Context(), messages(16384, 1))
			waiting := []<-chan error{s.publish(t.Context(), "x"), s.publish(t.Context(), "y")}
			end(s)
			_ = s.wait()
			wantKind(t, <-sent, conn.ErrUnconfirmed)
			for _, result := range waiting {
				wantKind(t, <-result, conn.ErrNotSent)
			}
			if at := time.Since(s.start); at > 500*time.Millisecond {
				t.Errorf("it took %v", at)
			}
		})
	}
}
