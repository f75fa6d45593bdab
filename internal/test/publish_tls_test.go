package test

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
)

// requireTLS makes a server refuse clients without TLS as nsqd does: each command after IDENTIFY.
func requireTLS(s *nsqxtest.Server, required bool) {
	hook := func(_ *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
		if cmd.Name == "IDENTIFY" {
			return nsqxtest.Proceed()
		}
		return nsqxtest.Fail("E_INVALID cannot " + cmd.Name + " in current state (TLS required)")
	}
	if !required {
		hook = nil
	}
	s.On("", hook)
}

// TestPublishWithoutTLS: an nsqd that requires TLS refuses a producer without it, so other nsqds get the
// messages.
func TestPublishWithoutTLS(t *testing.T) {
	for name, early := range map[string]bool{"connected before": false, "publish at once": true} {
		bubble(t, name, func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 2)
			requireTLS(servers[0], true)
			p := newPublisher(t, servers)
			if !early {
				time.Sleep(time.Minute)
			}
			const n = 100
			results := make(chan error, n)
			for i := range n {
				go func() {
					time.Sleep(time.Duration(i) * 200 * time.Millisecond)
					results <- sendTo(t.Context(), p, "orders", fmt.Sprint(i))
				}()
			}
			for range n {
				want(t, "publish", <-results, nil)
			}
			want(t, "published", len(servers[1].Published("orders")), n)
			want(t, "healthy", p.Healthy(), nil)
		})
	}
}

// TestNoNSQDWithoutTLS: an nsqd that requires TLS counts as down, steadily, and the error says what to
// set. It is tried again.
func TestNoNSQDWithoutTLS(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		requireTLS(s, true)
		log := new(logbook)
		p, err := nsqx.NewPublisher(s.Option(), nsqx.WithLogger(slog.New(log)))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Shutdown(t.Context())
		synctest.Wait()
		for range 600 {
			err := p.Healthy()
			wantErr(t, "Healthy", err, conn.ErrTLSRequired)
			err = sendTo(t.Context(), p, "orders", "x")
			wantKind(t, err, nsqx.ErrNotSent)
			wantErr(t, "publish", err, conn.ErrTLSRequired)
			if t.Failed() {
				t.FailNow()
			}
			time.Sleep(100*time.Millisecond + time.Microsecond)
		}
		want(t, "connected", log.count(slog.LevelInfo, "connected"), 1)
		if n := s.Dials(); n < 6 || n > 14 {
			t.Errorf("%d dials in a minute", n)
		}
		requireTLS(s, false)
		time.Sleep(12 * time.Second)
		want(t, "healthy", p.Healthy(), nil)
		want(t, "publish", sendTo(t.Context(), p, "orders", "x"), nil)
		want(t, "connected", log.count(slog.LevelInfo, "connected"), 2)
	})
}

// TestConsumeWithoutTLS: a consumer learns it from the answer to SUB.
func TestConsumeWithoutTLS(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		requireTLS(s, true)
		c, _ := consume(t, []*nsqxtest.Server{s}, done)
		time.Sleep(time.Second)
		wantErr(t, "Healthy", c.Healthy(), conn.ErrTLSRequired)
		want(t, "dials", s.Dials(), 1)
	})
}
