package nsqxtest_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestDisconnect(t *testing.T) {
	for got, end := range map[string]func(*nsqxtest.Server){
		"EOF":   (*nsqxtest.Server).Disconnect,
		"reset": (*nsqxtest.Server).ResetConns,
	} {
		check.Bubble(t, got, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			a, b := subscribed(t, s, ""), subscribed(t, s, "")
			s.Freeze(nsqxtest.BothWays) // has no effect on the end
			end(s)
			a.want(got)
			b.want(got)
			check.Want(t, "connections", len(s.Conns()), 0)
			check.Want(t, "subscribers", s.Stats("orders", "billing").Subscribers, 0)
		})
	}
	check.Bubble(t, "one of two", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		a, b := subscribed(t, s, ""), subscribed(t, s, "")
		s.Conns()[1].Disconnect()
		a.want()
		b.want("EOF")
		check.Want(t, "dial of the other", s.Conns()[0].N(), 1)
	})
}

func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, "")
		s.Refuse(true)
		if _, err := s.DialContext(t.Context(), "tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), s.Addr()) {
			t.Errorf("got %v, want a refused connection to %s", err, s.Addr())
		}
		s.Refuse(false)
		subscribed(t, s, "")
		check.Want(t, "dials", s.Dials(), 3)
		c.want()
	})
}

// Close waits for a subscribed client that disconnects in time.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, "")
		time.AfterFunc(4*time.Second, c.close)
		start := time.Now()
		s.Close()
		check.Want(t, "Close took", time.Since(start), 4*time.Second)
	})
}
