package conn_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of touched.go.

// refuse sends nsqd's answer to a TOUCH of message n that came too late.
func (s *stream) refuse(n uint64) {
	s.p.Error("E_TOUCH_FAILED " + touch(n) + " failed ID not in flight")
	synctest.Wait()
}

// TestTouchRefused (F16, M23) checks that a refused TOUCH ends the context of its delivery, and
// that afterwards only a success is sent.
func TestTouchRefused(t *testing.T) {
	for name, touching := range map[string]func(s *stream, m *handler.Delivery){
		"by hand": func(_ *stream, m *handler.Delivery) { _ = m.Message().Touch() },
		"often": func(_ *stream, m *handler.Delivery) {
			_, _, _ = m.Message().Touch(), m.Message().Touch(), m.Message().Touch()
		},
		"kept so":     func(s *stream, m *handler.Delivery) { s.KeepTouched(m) },
		"Done before": func(_ *stream, m *handler.Delivery) { m.Context().Done(); _ = m.Message().Touch() },
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			var m [6]*handler.Delivery
			for n := range m {
				m[n] = s.message(uint64(n))
			}
			for n := range 5 { // all but the last
				touching(s, m[n])
			}
			time.Sleep(30 * time.Second) // half of the message timeout
			synctest.Wait()
			for n := range uint64(3) {
				s.refuse(n)
			}
			for n, m := range m {
				want := error(nil)
				if n < 3 {
					want = handler.ErrMessageTimeout
				}
				wantCause(t, m.Context(), want)
				if m.Answerable() != (n >= 3) {
					t.Errorf("message %d is answerable: %v", n, m.Answerable())
				}
			}
			s.sent()
			wantIs(t, m[0].Message().Touch(), handler.ErrMessageTimeout)
			if s.Requeue(m[0], 0) || s.GiveUp(m[1]) || !s.Finish(m[2]) {
				t.Error("only a success may be answered when nsqd does not wait any more")
			}
			s.wantSent(fin(2))
			if !s.Requeue(m[3], 0) {
				t.Error("one that was not refused is not requeued")
			}
			s.wantSent(req(3, 0))
			if !s.GiveUp(m[4]) {
				t.Error("one that was not refused is not given up")
			}
			s.wantSent(fin(4))
			if st := s.Stats(); st.Refused != 3 || st.Expired != 2 || len(s.sink.refused()) != 3 {
				t.Errorf("stats are %+v", st)
			}
			s.alive()
		})
	}
}

// TestTouchRefusedUnknown checks that errors about other messages, or in other words, end no
// context.
func TestTouchRefusedUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		m, untouched, settled := s.message(1), s.message(2), s.message(3)
		_, _ = m.Message().Touch(), settled.Message().Touch()
		ctx := settled.Context()
		s.Finish(settled)
		texts := []string{
			"E_TOUCH_FAILED", "E_TOUCH_FAILED ", "E_TOUCH_FAILED TOUCH", "E_TOUCH_FAILED TOUCH ", "E_TOUCH_FAILED TOUCH x",
			"E_TOUCH_FAILED " + fake.ID(1), "E_TOUCH_FAILED touch " + fake.ID(1), "E_TOUCH_FAILED TOUCH " + fake.ID(1) + "0",
			"E_TOUCH_FAILED TOUCH " + fake.ID(1)[1:], "E_FIN_FAILED TOUCH " + fake.ID(1), "E_REQ_FAILED " + touch(1) + " failed",
			"E_TOUCH_FAILED " + touch(2), "E_TOUCH_FAILED " + touch(3), "E_TOUCH_FAILED " + touch(4),
		}
		for _, text := range texts {
			s.p.Error(text)
		}
		synctest.Wait()
		for _, m := range []*handler.Delivery{m, untouched} {
			wantCause(t, m.Context(), nil)
			if !m.Answerable() {
				t.Errorf("%v is not answerable", m)
			}
		}
		wantCause(t, ctx, nil)
		if st := s.Stats(); int(st.Refused) != len(texts) {
			t.Errorf("stats are %+v", st)
		}
		s.refuse(1)
		wantCause(t, m.Context(), handler.ErrMessageTimeout)
	})
}

// TestTouchRefusedSameID refuses a TOUCH of an id that was delivered again while its first handler
// runs.
func TestTouchRefusedSameID(t *testing.T) {
	tests := map[string]struct {
		before     func(s *stream, older *handler.Delivery)
		newerLoses bool
	}{
		"the older one is meant":                    {func(*stream, *handler.Delivery) {}, false},
		"the older one was refused before":          {func(s *stream, _ *handler.Delivery) { s.refuse(1) }, true},
		"the older one is too late by the clock":    {func(*stream, *handler.Delivery) { time.Sleep(59750 * time.Millisecond) }, true},
		"the older one was requeued":                {func(s *stream, older *handler.Delivery) { s.Requeue(older, 0) }, true},
		"the older one was requeued when too late":  {func(s *stream, older *handler.Delivery) { s.refuse(1); s.Requeue(older, 0) }, true},
		"the older one was touched again meanwhile": {func(_ *stream, older *handler.Delivery) { time.Sleep(59 * time.Second); _ = older.Message().Touch() }, false},
	}
	for name, c := range tests {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{cfg: conn.Config{HeartbeatInterval: time.Minute}})
			older := s.message(1)
			_ = older.Message().Touch()
			c.before(s, older)
			settled := older.Claimed()
			newer := s.message(1)
			_ = newer.Message().Touch()
			s.refuse(1)
			if older == newer || newer.Answerable() == c.newerLoses || older.Answerable() && !settled {
				t.Errorf("answerable are the older one: %v, the newer one: %v", older.Answerable(), newer.Answerable())
			}
			s.refuse(1)
			wantCause(t, newer.Context(), handler.ErrMessageTimeout)
		})
	}
}

// TestTouchedIsBounded checks that settled messages are soon forgotten, and unsettled ones are not.
func TestTouchedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		long := s.message(0)
		_ = long.Message().Touch()
		for round := range 100 {
			for n := range uint64(100) {
				m := s.message(1 + uint64(round)*100 + n)
				_, _ = m.Message().Touch(), m.Message().Touch()
				s.Finish(m)
			}
			again := s.message(1)
			_ = again.Message().Touch()
			s.Requeue(again, 0)
			if got := s.Touched(); got > 100 {
				t.Fatalf("%d messages are remembered, of 1 that is not settled", got)
			}
			s.sent()
		}
		s.refuse(0)
		wantCause(t, long.Context(), handler.ErrMessageTimeout)
	})
}
