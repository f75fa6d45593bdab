package conn_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of failures in pubs.go.

// TestRefusals checks what each nsqd error means for the publish that it answers, alone and in an
// MPUB with others, and for later publishes, which nsqd has not read: it closes the connection.
func TestRefusals(t *testing.T) {
	const shared, together = 1, 2
	for code, c := range map[string]struct{ alone, shared error }{
		"E_BAD_TOPIC":      {conn.ErrRejected, conn.ErrRejected},
		"E_BAD_MESSAGE":    {conn.ErrRejected, conn.ErrNotSent}, // unknown which one is too large
		"E_BAD_BODY":       {conn.ErrRejected, conn.ErrNotSent},
		"E_INVALID":        {conn.ErrRejected, conn.ErrRejected},
		"E_UNAUTHORIZED":   {conn.ErrRejected, conn.ErrRejected},
		"E_AUTH_FAILED":    {conn.ErrNotSent, conn.ErrNotSent},
		"E_AUTH_FIRST":     {conn.ErrNotSent, conn.ErrNotSent},
		"E_AUTH_ERROR":     {conn.ErrNotSent, conn.ErrNotSent},
		"E_PUB_FAILED":     {conn.ErrNotSent, conn.ErrNotSent},
		"E_DPUB_FAILED":    {conn.ErrNotSent, conn.ErrNotSent},
		"E_MPUB_FAILED":    {conn.ErrUnconfirmed, conn.ErrUnconfirmed}, // nsqd may have taken some
		"E_SOMETHING":      {conn.ErrUnconfirmed, conn.ErrUnconfirmed},
		"not even a code":  {conn.ErrUnconfirmed, conn.ErrUnconfirmed},
		"E_FIN_FAILED":     {conn.ErrUnconfirmed, conn.ErrUnconfirmed}, // it answers no publish
		"E_TOUCH_FAILED x": {conn.ErrUnconfirmed, conn.ErrUnconfirmed},
	} {
		for how := range 3 {
			bubbles(t, fmt.Sprintf("%s %d", code, how), func(t *testing.T) {
				s := publishing(t, conn.Config{})
				open := s.tap.holdWrites()
				before := s.publish(t.Context(), "before")
				culprits, want := []<-chan error{nil}, c.alone
				switch how {
				case shared:
					culprits, want = append(culprits, s.publish(t.Context(), "x")), c.shared
					culprits[0] = s.publish(t.Context(), "y")
				case together:
					culprits[0] = s.send(t.Context(), &conn.Pub{Topic: "orders", Bodies: [][]byte{[]byte("x"), []byte("y")}})
				default:
					culprits[0] = s.publish(t.Context(), "x")
				}
				written := s.publishTo(t.Context(), "mail", "behind")
				open()
				s.p.Response("OK")
				synctest.Wait()
				open = s.tap.holdWrites()
				s.publish(t.Context(), "takes the write")
				queued := s.publish(t.Context(), "queued")
				s.p.Error(code + " text")
				s.p.Close()
				synctest.Wait()
				open()
				_ = s.wait()
				wantResult(t, before, nil)
				for _, result := range culprits {
					err := <-result
					wantKind(t, err, want)
					if e, ok := errors.AsType[*conn.ServerError](err); !ok || !strings.Contains(e.Error(), "text") {
						t.Errorf("error is %v, want nsqd's", err)
					}
				}
				if strings.Contains(code, "FIN") || strings.Contains(code, "TOUCH") {
					wantKind(t, <-written, conn.ErrUnconfirmed)
				} else {
					wantKind(t, <-written, conn.ErrNotSent)
				}
				wantKind(t, <-queued, conn.ErrNotSent)
				if s.Unanswered() != 0 || s.Stats().Published != 1 {
					t.Errorf("%d unanswered, %d published", s.Unanswered(), s.Stats().Published)
				}
			})
		}
	}
}

// TestPublishConnectionLost checks that nsqd may have the publishes that were written, and not
// those that were queued.
func TestPublishConnectionLost(t *testing.T) {
	for name, end := range map[string]func(s *stream){
		"closed":  func(s *stream) { s.p.Close() },
		"reset":   func(s *stream) { s.p.Reset() },
		"aborted": func(s *stream) { s.Abort(errReason) },
		"garbage": func(s *stream) { s.p.Raw([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
		"silence": func(*stream) { time.Sleep(2 * beat) },
	} {
		bubbles(t, name, func(t *testing.T) {
			s := publishing(t, conn.Config{PublishTimeout: time.Hour})
			written := []<-chan error{s.publish(t.Context(), "a")}
			open := s.tap.holdWrites()
			written = append(written, s.publish(t.Context(), "c")) // an unknown part of it is written
			queued := []<-chan error{s.publish(t.Context(), "d"), s.publishTo(t.Context(), "mail", "e")}
			end(s)
			synctest.Wait()
			for _, result := range written {
				wantKind(t, <-result, conn.ErrUnconfirmed)
			}
			for _, result := range queued {
				wantKind(t, <-result, conn.ErrNotSent)
			}
			err := s.Publish(t.Context(), pub("orders", "late"))
			wantKind(t, err, conn.ErrNotSent)
			wantIs(t, err, net.ErrClosed)
			open()
		})
	}
}

// TestPublishTimeout checks that heartbeats do not extend the timeout, that answers in time
// confirm, and that later publishes have more time.
func TestPublishTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{PublishTimeout: 40 * time.Second})
		quit, heartbeat := make(chan struct{}), fake.Frame(fake.FrameResponse, []byte("_heartbeat_"))
		defer close(quit)
		go func() {
			for {
				select {
				case <-time.After(beat):
					_, _ = s.p.Conn.Write(heartbeat)
				case <-quit:
					return
				}
			}
		}()
		first := s.publish(t.Context(), "first")
		time.Sleep(30 * time.Second)
		second := s.publish(t.Context(), "second")
		time.Sleep(9 * time.Second)
		s.p.Response("OK") // after 39 s
		wantResult(t, first, nil)
		time.Sleep(25 * time.Second) // 34 s after the second
		third := s.publish(t.Context(), "third")
		wantPending(t, second)
		err := s.failed(conn.PhaseStream, 70*time.Second)
		wantIs(t, err, conn.ErrPublishTimeout)
		for _, result := range []<-chan error{second, third} {
			err := <-result
			wantKind(t, err, conn.ErrUnconfirmed)
			wantIs(t, err, conn.ErrPublishTimeout)
		}
	})
}

// TestPublishTimeoutIdle checks that an idle connection has no publish timeout.
func TestPublishTimeoutIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{PublishTimeout: time.Second})
		for range 5 {
			result := s.publish(t.Context(), "a")
			time.Sleep(999 * time.Millisecond)
			s.p.Response("OK")
			wantResult(t, result, nil)
			time.Sleep(10 * time.Second)
			s.p.Heartbeat()
		}
		s.wantServed()
	})
}

// wantServed checks that the connection has not ended.
func (s *stream) wantServed() {
	s.t.Helper()
	synctest.Wait()
	select {
	case <-s.ended:
		s.t.Errorf("it has ended: %v", s.err)
	default:
	}
}

// TestPublishLateAnswer (F15) freezes nsqd until a publish ends with its ctx. The next publish must
// get its own answer.
func TestPublishLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		gone := s.send(ctx, pub("orders", "gone"))
		time.Sleep(50 * time.Millisecond)
		err := <-gone
		wantKind(t, err, conn.ErrUnconfirmed)
		wantIs(t, err, context.DeadlineExceeded)
		a, b := s.publish(t.Context(), "a"), s.publishTo(t.Context(), "mail", "b")
		s.p.Response("OK")
		wantPending(t, a)
		s.p.Response("OK")
		wantResult(t, a, nil)
		wantPending(t, b)
		s.p.Raw(fake.Frame(fake.FrameError, []byte("E_BAD_TOPIC")))
		wantResult(t, b, "E_BAD_TOPIC")
	})
}
