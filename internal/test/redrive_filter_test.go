package test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// TestRedriveFilter: what the filter leaves out stays, is counted once, and is there for the next
// Redrive.
func TestRedriveFilter(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(10)...)
		even := nsqx.WithRedriveFilter(func(m *handler.Message) bool {
			return m.Body[0]%2 == 0 && m.Header(envelope.DeadTopic) == "orders"
		})
		redrive(t.Context(), t, s, "", even, nsqx.WithRedriveRate(2)).
			want(nsqx.RedriveReport{Redriven: 5, Filtered: 5}, 4*time.Second/2+redriveIdle+closeTime)
		want(t, "dead letters", lettersLeft(s), 5)
		for _, p := range s.Published("orders") {
			if _, payload := splitHeaders(p.Body); payload[0]%2 != 0 {
				t.Errorf("%q was redriven", payload)
			}
		}
		time.Sleep(2 * redriveIdle)
		redrive(t.Context(), t, s, "").want(nsqx.RedriveReport{Redriven: 5}, 40*time.Millisecond+redriveIdle+closeTime)
		want(t, "dead letters", lettersLeft(s), 0)
	})
}

// TestRedriveFilterMisbehaves: a message whose filter panics or exits stays, and the report and the
// error say so; one that hangs keeps Redrive for its shutdown timeout alone.
func TestRedriveFilterMisbehaves(t *testing.T) {
	for name, do := range map[string]func(){"panics": func() { panic("no") }, "exits": runtime.Goexit} {
		bubble(t, name, func(t *testing.T) {
			s := newRedriveServer(t)
			s.Publish("dead", deadLetters(3)...)
			r := redrive(t.Context(), t, s, "", nsqx.WithRedriveFilter(func(m *handler.Message) bool {
				if m.Body[0] == '1' {
					do()
				}
				return true
			}))
			want(t, "report", r.report, nsqx.RedriveReport{Redriven: 2, Failed: 1})
			if _, ok := errors.AsType[*handler.PanicError](r.err); !ok {
				t.Errorf("error is %v", r.err)
			}
			want(t, "dead letters", lettersLeft(s), 1)
		})
	}
	bubble(t, "hangs", func(t *testing.T) {
		release := make(chan struct{})
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(3)...)
		r := redrive(t.Context(), t, s, "", nsqx.WithRedriveFilter(func(m *handler.Message) bool {
			if m.Body[0] == '1' {
				<-release
			}
			return true
		}))
		want(t, "redriven", r.report.Redriven, 2)
		if r.err == nil || r.took > redriveIdle+25*time.Second {
			t.Errorf("it took %v: %v", r.took, r.err)
		}
		want(t, "dead letters", lettersLeft(s), 1)
		close(release)
		time.Sleep(time.Minute)
	})
}
