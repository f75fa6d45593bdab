package pool

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// TestLost is about messages without a connection: Consumer.Process takes such messages.
func TestLost(t *testing.T) {
	for name, tt := range map[string]struct {
		cause             error
		lost, interrupted bool
	}{
		"alive":    {nil, false, false},
		"lost":     {handler.ErrConnLost, true, false},
		"shutdown": {handler.ErrShutdown, false, true},
		"other":    {errors.New("other"), false, false},
	} {
		src := newSource()
		if tt.cause != nil {
			src.end(tt.cause)
		}
		m := &src.messages(1, 1)[0]
		check.Want(t, name+": lost", Lost(m), tt.lost)
		check.Want(t, name+": interrupted", Interrupted(m), tt.interrupted)
	}
	m := new(handler.Delivery)
	m.Init(nil, handler.ID{}, 1, 0, nil)
	check.Want(t, "no source: lost", Lost(m), false)
	check.Want(t, "no source: interrupted", Interrupted(m), false)
}

// TestLostConnection: the messages of a connection are lost when it has ended, and not when their
// contexts have.
func TestLostConnection(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		release := make(chan struct{})
		s := newService(t, 1, func(*handler.Delivery) error {
			<-release
			return nil
		})
		l := s.dial(nsqd1)
		l.flood(1, 1)
		synctest.Wait()
		m := s.Snapshot().Running[0]
		check.Want(t, "lost", Lost(m), false)
		check.Want(t, "interrupted", Interrupted(m), false)
		l.conn.CancelMessages(handler.ErrShutdown)
		check.Want(t, "lost in a shutdown", Lost(m), false)
		check.Want(t, "interrupted in a shutdown", Interrupted(m), true)
		l.p.Close()
		<-l.served
		check.Want(t, "lost after the end", Lost(m), true)
		close(release)
	})
}

// TestUnanswered: the reason why no answer was sent.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource()
		m := &src.messages(1, 1)[0]
		check.Want(t, "in time", unanswered(m), handler.Interrupted)
		time.Sleep(time.Minute)
		check.Want(t, "after the timeout", unanswered(m), handler.Expired)
		src.end(handler.ErrConnLost)
		check.Want(t, "lost", unanswered(m), handler.Lost)
	})
}
