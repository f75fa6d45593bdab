package handler_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func TestInit(t *testing.T) {
	s := newSource(t)
	var d handler.Delivery
	d.Init(&handler.Read{Source: s, At: 3 * time.Second}, testID, 7, 1_700_000_000_123_456_789, []byte("body"))

	check.Want(t, "ID", d.ID, testID)
	check.Want(t, "Attempts", d.Attempts, 7)
	check.Want(t, "Body", string(d.Body), "body")
	check.Want(t, "Topic", d.Topic(), "orders")
	check.Want(t, "Channel", d.Channel(), "billing")
	check.Want(t, "NSQD", d.NSQD(), "127.0.0.1:4150")
	check.Want(t, "Source", d.Source(), handler.Source(s))
	check.Want(t, "Timestamp", d.Timestamp().UnixNano(), 1_700_000_000_123_456_789)
	check.Want(t, "Received", d.Received(), s.terms.Start.Add(3*time.Second))
	check.Want(t, "Outcome", d.Outcome(), handler.Outcome{})
	check.Want(t, "Answerable", d.Answerable(), true)
}

// A Delivery and its Message are the same memory.
func TestDeliveryIsItsMessage(t *testing.T) {
	m := newSource(t).message("body")
	d := delivery(m)
	check.Want(t, "Message", d.Message(), m)
	check.Want(t, "ID", d.ID, m.ID)
	check.Want(t, "Attempts", d.Attempts, m.Attempts)
	check.Want(t, "Body", &d.Body[0] == &m.Body[0], true)
	check.Want(t, "Topic", d.Topic(), m.Topic())
	check.Want(t, "Channel", d.Channel(), m.Channel())
	check.Want(t, "NSQD", d.NSQD(), m.NSQD())
	check.Want(t, "Timestamp", d.Timestamp(), m.Timestamp())
	check.Want(t, "Received", d.Received(), m.Received())
	check.Want(t, "Context", d.Context(), m.Context())
	check.Want(t, "String", d.String(), m.String())
	check.Want(t, "GoString", d.GoString(), m.GoString())
	check.Want(t, "LogValue", d.LogValue().Equal(m.LogValue()), true)

	d.SetOutcome(handler.Outcome{Disposition: handler.Drop})
	check.Want(t, "Outcome", d.Outcome(), m.Outcome())
	check.Want(t, "Outcome of the message", m.Outcome(), handler.Outcome{Disposition: handler.Drop})
}

func TestClaimOnce(t *testing.T) {
	s := newSource(t)
	for range 200 {
		m := s.message("body")
		var won atomic.Int32
		var start, done sync.WaitGroup
		start.Add(1)
		for range 8 {
			done.Go(func() {
				start.Wait()
				if delivery(m).Claim() {
					won.Add(1)
				}
			})
		}
		start.Done()
		done.Wait()
		check.Want(t, "claims that won", won.Load(), 1)
	}
}

func TestRelease(t *testing.T) {
	s := newSource(t)
	freed := 0
	r := &handler.Read{Source: s, Free: func() { freed++ }}
	msgs := readTogether(r, 2)
	msgs[0].Release()
	check.Want(t, "Body", msgs[0].Body == nil, true)
	msgs[0].Release() // changes nothing
	check.Want(t, "neighbour's body", string(msgs[1].Body), "body")
	check.Want(t, "freed too early", freed, 0)
	msgs[1].Release()
	check.Want(t, "freed", freed, 1)
	check.Want(t, "the memory is kept", r.Free != nil, false)
}

// A message made by WithBody holds no memory of the connection.
func TestReleaseOfDerived(t *testing.T) {
	freed := false
	var m handler.Message
	delivery(&m).Init(&handler.Read{Source: newSource(t), Free: func() { freed = true }}, testID, 1, 0, []byte("sealed"))
	delivery(m.WithBody([]byte("opened"))).Release()
	check.Want(t, "freed", freed, false)
	check.Want(t, "body", string(m.Body), "sealed")
	check.Want(t, "Err", m.Context().Err(), nil)
}

// The call that comes first selects the path inside.
func TestExpire(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(m *handler.Message)
		timeout time.Duration
	}{
		"nothing called before":   {func(*handler.Message) {}, time.Minute},
		"Err before":              {func(m *handler.Message) { _ = m.Context().Err() }, time.Minute},
		"Done before":             {func(m *handler.Message) { m.Context().Done() }, time.Minute},
		"touched":                 {func(m *handler.Message) { _ = m.Touch() }, time.Minute},
		"touched, Done before":    {func(m *handler.Message) { m.Context().Done(); _ = m.Touch() }, time.Minute},
		"by a derived message":    {func(m *handler.Message) { delivery(m.WithBody(nil)).Expire() }, time.Minute},
		"no message timeout":      {func(*handler.Message) {}, 0},
		"no timeout, Done before": {func(m *handler.Message) { m.Context().Done() }, 0},
		"expired before":          {func(m *handler.Message) { delivery(m).Expire() }, time.Minute},
		"expired and Err before":  {func(m *handler.Message) { delivery(m).Expire(); _ = m.Context().Err() }, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource(t)
				s.terms.MessageTimeout = c.timeout
				m, other := s.message("body"), s.message("another")
				deadline, _ := m.Context().Deadline()
				time.Sleep(10 * time.Second)
				c.before(m)
				touches := s.touched.Load()
				delivery(m).Expire()

				timedOut(t, m.Context())
				check.Want(t, "Answerable", delivery(m).Answerable(), false)
				wantErr(t, "Touch", m.Touch(), handler.ErrMessageTimeout)
				check.Want(t, "touches", s.touched.Load(), touches)
				at, ok := m.Deadline()
				check.Want(t, "the deadline has passed", ok && !at.After(time.Now()), true)
				after, _ := m.Context().Deadline()
				check.Want(t, "the context's Deadline", after, deadline)
				check.Want(t, "the other's Err", other.Context().Err(), nil)
				check.Want(t, "the other is answerable", delivery(other).Answerable(), true)
				check.Want(t, "claimed", delivery(m).Claim(), true)

				asked := s.askedFor.Load()
				time.Sleep(time.Hour)
				check.Want(t, "timers left", s.askedFor.Load(), asked)
			})
		})
	}
}

// The first cause of a context counts.
func TestExpireComesLate(t *testing.T) {
	t.Run("after the connection's end", func(t *testing.T) {
		s := newSource(t)
		m := s.message("body")
		m.Context().Done()
		s.end(handler.ErrConnLost)
		delivery(m).Expire()
		check.Want(t, "cause", context.Cause(m.Context()), handler.ErrConnLost)
	})
	t.Run("after the handler's return", func(t *testing.T) {
		m := newSource(t).message("body")
		ctx := m.Context()
		ctx.Done()
		delivery(m).Release()
		delivery(m).Expire()
		check.Want(t, "Err", ctx.Err(), context.Canceled)
		wantErr(t, "Touch", m.Touch(), handler.ErrSettled)
	})
	t.Run("of no source", func(t *testing.T) {
		m := new(handler.Message)
		delivery(m).Expire()
		check.Want(t, "Err", m.Context().Err(), nil)
	})
}

func TestExpireRacesWithDone(t *testing.T) {
	for range 200 {
		s := newSource(t)
		m := s.message("body")
		asked := make(chan context.Context)
		go func() {
			ctx := m.Context()
			_ = m.Touch()
			<-ctx.Done()
			asked <- ctx
		}()
		delivery(m).Expire()
		timedOut(t, <-asked)
	}
}
