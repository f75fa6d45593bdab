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
	"github.com/nsqx/nsqx/internal/wire"
)

// Tests of publish.go.

func TestPublish(t *testing.T) {
	for name, o := range layers(t) {
		bubbles(t, name, func(t *testing.T) {
			o.publish = true
			s := openStream(t, o)
			if s.Topic() != "" || s.Channel() != "" {
				t.Error("it has a topic")
			}
			for _, body := range []string{"a", strings.Repeat("b", 100_000)} {
				result := s.publish(t.Context(), body)
				if cmd := s.p.Expect("PUB"); cmd.String() != "PUB orders" || string(cmd.Body) != body {
					t.Errorf("sent %q with %d bytes", cmd, len(cmd.Body))
				}
				wantPending(t, result)
				s.p.Response("OK")
				wantResult(t, result, nil)
			}
			s.CloseWrite()
			if !s.p.HalfClosed() {
				t.Error("not half-closed")
			}
			s.p.Close()
			if err := s.wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPublishHeartbeats (M16) sends heartbeats between a PUB and its answer. None may pass for the
// answer, and all are answered.
func TestPublishHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true, cfg: conn.Config{PublishTimeout: time.Hour}})
		result := s.publish(t.Context(), "a")
		for range 10 {
			time.Sleep(beat)
			s.p.Expect("PUB")
			s.alive()
			wantPending(t, result)
			s.p.Response("OK")
			wantResult(t, result, nil)
			result = s.publish(t.Context(), "a")
		}
	})
}

// TestPublishFIFO checks that each of many concurrent publishes gets its own answer.
func TestPublishFIFO(t *testing.T) {
	const n = 60
	for _, c := range []struct {
		answered int
		failure  string
	}{{n, ""}, {0, "E_PUB_FAILED PUB failed"}, {17, "E_BAD_TOPIC PUB topic name"}, {59, "E_AUTH_FAILED x"}, {30, "E_SOMETHING"}} {
		bubbles(t, fmt.Sprint(c.answered, c.failure), func(t *testing.T) {
			s := openStream(t, streamOptions{publish: true})
			open := s.tap.holdWrites()
			results := make(map[string]<-chan error, n)
			for i := range n {
				body := fmt.Sprint("body ", i)
				results[body] = s.publishTo(t.Context(), fmt.Sprint("topic-", i), body)
			}
			open()
			order := make([]string, n)
			for i := range order {
				order[i] = string(s.p.Expect("PUB").Body)
			}
			for range c.answered {
				s.p.Response("OK")
			}
			if c.failure != "" {
				s.p.Error(c.failure)
				s.p.Close()
			}
			synctest.Wait()
			for i, body := range order {
				switch {
				case i < c.answered:
					wantResult(t, results[body], nil)
				case i == c.answered:
					wantResult(t, results[body], strings.Fields(c.failure)[0])
				default: // nsqd has not read them
					wantResult(t, results[body], conn.ErrNotSent)
				}
			}
			if c.failure == "" {
				s.alive()
			} else if !isErr[*conn.ServerError](s.failed(conn.PhaseStream, 0)) {
				t.Errorf("Serve returned %v", s.err)
			}
		})
	}
}

// TestPublishRejectedWhileWriting checks that an answer reaches its caller although a later publish
// could not be written.
func TestPublishRejectedWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true})
		first := s.publish(t.Context(), "a")
		open := s.tap.holdReads()
		s.p.Expect("PUB")
		s.p.Error("E_UNAUTHORIZED AUTH failed for PUB")
		s.p.Close()
		second := s.publish(t.Context(), "b")
		open()
		wantResult(t, first, "E_UNAUTHORIZED")
		wantResult(t, second, conn.ErrNotSent)
		if !isErr[*conn.ServerError](s.failed(conn.PhaseStream, 0)) {
			t.Errorf("Serve returned %v", s.err)
		}
	})
}

// TestPublishContext checks that Publish returns when ctx ends, and that the next publish gets its
// own answer.
func TestPublishContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true})
		cause := errors.New("the cause")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
		defer cancel()
		first := s.publish(ctx, "a")
		second := s.publish(t.Context(), "b")
		third := s.publish(t.Context(), "c")
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		err := <-first
		wantIs(t, err, conn.ErrUnconfirmed)
		wantIs(t, err, cause)
		s.p.Response("OK")
		wantPending(t, second)
		s.p.Response("OK")
		wantResult(t, second, nil)
		wantPending(t, third)
		s.p.Error("E_PUB_FAILED")
		wantResult(t, third, "E_PUB_FAILED")
	})
}

// TestPublishContextWhileBlocked checks that Publish does not wait for the write loop.
func TestPublishContextWhileBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true})
		s.tap.SetBuffer(1)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for range 3 {
			wantIs(t, s.Publish(ctx, pub("orders", "a")), context.DeadlineExceeded)
			if at := time.Since(s.start); at != 50*time.Millisecond {
				t.Errorf("it returned after %v", at)
			}
		}
	})
}

// TestPublishEnded checks that a ctx that has ended before sends nothing, and that the error is not
// ErrUnconfirmed.
func TestPublishEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true})
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errReason)
		err := s.Publish(ctx, pub("orders", "a"))
		wantIs(t, err, errReason)
		if errors.Is(err, conn.ErrUnconfirmed) {
			t.Error("unconfirmed, although nothing was sent")
		}
		s.wantSent("")
	})
}

// TestPublishInvalid checks that a publish for which nsqd would close the connection is not sent.
func TestPublishInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true, cfg: conn.Config{MaxMessageSize: 10}})
		for _, topic := range []string{"", " ", "a b", "a\nb", "a/b", "ü", strings.Repeat("x", 65), "#ephemeral"} {
			if err := s.Publish(t.Context(), pub(topic, "x")); !isErr[*wire.NameError](err) || errors.Is(err, conn.ErrUnconfirmed) {
				t.Errorf("topic %q: %v", topic, err)
			}
		}
		for _, body := range [][]byte{nil, {}, make([]byte, 11)} {
			if err := s.Publish(t.Context(), pub("orders", string(body))); !isErr[*wire.BodyError](err) || errors.Is(err, conn.ErrUnconfirmed) {
				t.Errorf("body of %d bytes: %v", len(body), err)
			}
		}
		s.wantSent("")
		result := s.publish(t.Context(), "0123456789")
		s.p.Expect("PUB")
		s.p.Response("OK")
		wantResult(t, result, nil)
	})
}

func TestPublishOnSubscribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		if err := s.Publish(t.Context(), pub("orders", "a")); !errors.Is(err, conn.ErrRejected) {
			t.Errorf("Publish returned %v", err)
		}
		s.wantSent("")
	})
}

// TestUnsolicitedWhilePublishing (M18) checks that a response to no command ends the connection
// before it can pass for an answer.
func TestUnsolicitedWhilePublishing(t *testing.T) {
	frame := fake.Frame
	for name, raw := range map[string][]byte{
		"OK":           frame(fake.FrameResponse, []byte("OK")),
		"OK twice":     append(frame(fake.FrameResponse, []byte("OK")), frame(fake.FrameResponse, []byte("OK"))...),
		"CLOSE_WAIT":   frame(fake.FrameResponse, []byte("CLOSE_WAIT")),
		"empty":        frame(fake.FrameResponse, nil),
		"something":    frame(fake.FrameResponse, []byte("\x00\xffsomething")),
		"E_FIN_FAILED": frame(fake.FrameError, []byte("E_FIN_FAILED")),
		"E_REQ_FAILED": frame(fake.FrameError, []byte("E_REQ_FAILED x")),
		"a message":    fake.Message(0, fake.ID(1), 1, []byte("x")),
	} {
		for _, waiting := range []bool{false, true} {
			bubbles(t, fmt.Sprint(name, ", waiting ", waiting), func(t *testing.T) {
				s := openStream(t, streamOptions{publish: true})
				var result <-chan error
				if waiting {
					result = s.publish(t.Context(), "a")
				}
				s.p.Raw(raw)
				if name == "OK" && waiting {
					wantResult(t, result, nil)
					return
				}
				s.failed(conn.PhaseStream, 0)
				if waiting && name != "OK twice" {
					wantResult(t, result, conn.ErrUnconfirmed)
				}
				if len(s.sink.messages())+len(s.sink.refused()) != 0 {
					t.Error("the sink was told")
				}
			})
		}
	}
}

// TestPublishAtEnd checks that waiting publishes fail when the connection ends, and later ones
// immediately.
func TestPublishAtEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end     func(s *stream)
		answers int
	}{
		"aborted":              {func(s *stream) { s.Abort(errReason) }, 0},
		"closed by nsqd":       {func(s *stream) { s.p.Close() }, 0},
		"silence":              {func(*stream) { time.Sleep(2 * beat) }, 0},
		"half-closed":          {func(s *stream) { s.CloseWrite(); s.p.Close() }, 0},
		"half-closed, 1 OK":    {func(s *stream) { s.CloseWrite(); s.p.Response("OK"); s.p.Close() }, 1},
		"half-closed, answers": {func(s *stream) { s.CloseWrite(); s.p.Response("OK"); s.p.Response("OK"); s.p.Close() }, 2},
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{publish: true})
			results := []<-chan error{s.publish(t.Context(), "a"), s.publish(t.Context(), "b")}
			c.end(s)
			_ = s.wait()
			for i, result := range results {
				if i < c.answers {
					wantResult(t, result, nil)
				} else {
					wantResult(t, result, conn.ErrUnconfirmed)
				}
			}
			err := s.Publish(t.Context(), pub("orders", "c"))
			wantIs(t, err, net.ErrClosed)
			if !isErr[*conn.Error](err) || errors.Is(err, conn.ErrUnconfirmed) {
				t.Errorf("Publish returned %v", err)
			}
		})
	}
}

// TestPublishAfterCloseWrite checks that earlier publishes are sent and later ones are not,
// although the half-close is still to come.
func TestPublishAfterCloseWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true})
		open := s.tap.holdWrites()
		first, second := s.publish(t.Context(), "a"), s.publish(t.Context(), "b")
		s.CloseWrite()
		wantIs(t, s.Publish(t.Context(), pub("orders", "c")), net.ErrClosed)
		open()
		if !s.p.HalfClosed() {
			t.Error("not half-closed")
		}
		if got := fmt.Sprint(s.p.Log[2:]); got != "[PUB orders PUB orders]" { // after IDENTIFY and NOP
			t.Errorf("sent %s", got)
		}
		s.p.Response("OK")
		s.p.Response("OK")
		s.p.Close()
		wantResult(t, first, nil)
		wantResult(t, second, nil)
		if err := s.wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestAnswerAfterEnd checks that an answer that was read before the end and is parsed after it
// blocks nothing.
func TestAnswerAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		result := s.publish(ctx, "a")
		time.Sleep(time.Second)
		wantResult(t, result, conn.ErrUnconfirmed)
		open := s.tap.holdReads()
		s.p.Response("OK")
		synctest.Wait()
		s.Abort(errReason)
		open()
		wantIs(t, s.failed(conn.PhaseStream, time.Second), errReason)
	})
}

// TestPublishBeforeServe checks that Publish waits for Serve.
func TestPublishBeforeServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true, idle: true})
		result := s.publish(t.Context(), "a")
		wantPending(t, result)
		s.ended = make(chan struct{})
		go s.serve()
		s.p.Expect("PUB")
		s.p.Response("OK")
		wantResult(t, result, nil)
	})
}

// TestPublishErrorKind checks that an error has only its own kind, also if its context was
// cancelled by the failure of another publish, as errgroup does.
func TestPublishErrorKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		ctx, cancel := context.WithCancelCause(t.Context())
		result := s.send(ctx, pub("orders", "x"))
		failed := s.Publish(t.Context(), pub("no topic", "x"))
		wantKind(t, failed, conn.ErrRejected)
		cancel(failed)
		err := <-result
		wantKind(t, err, conn.ErrUnconfirmed)
		wantIs(t, err, context.Canceled)
		wantKind(t, s.Publish(ctx, pub("orders", "x")), conn.ErrNotSent)
		if !strings.Contains(err.Error(), failed.Error()[len("nsqx: "):]) {
			t.Errorf("%q does not say why", err)
		}
	})
}

// TestPublishErrorCutsTopic checks that a long topic is shortened in the error.
func TestPublishErrorCutsTopic(t *testing.T) {
	p := pub(strings.Repeat("a\n", 1000), "x")
	err := p.Validate(conn.Config{}.Limits())
	if !errors.Is(err, conn.ErrRejected) || len(err.Error()) > 400 || strings.Contains(err.Error(), "\n") {
		t.Errorf("error is %q", err)
	}
	if err := pub("orders", "x").Validate(conn.Config{}.Limits()); err != nil {
		t.Error(err)
	}
}
