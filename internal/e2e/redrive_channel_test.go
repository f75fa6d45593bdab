package e2e

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// TestRedriveForOneChannel: on two nsqds behind an nsqlookupd, only the channel that gave messages
// up handles them again. Once that channel is deleted the dead letters stay.
func TestRedriveForOneChannel(t *testing.T) {
	t.Parallel()
	for name, http := range map[string]bool{"nsqd says so": true, "nsqlookupd says so": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 30
			l := testnsqd.StartLookupd(t, testnsqd.Reachable)
			s := []*testnsqd.Server{testnsqd.Start(t, l.Register), testnsqd.Start(t, l.Register)}
			lookupds := nsqx.WithLookupd(l.HTTPAddr())
			var failing atomic.Bool
			failing.Store(true)
			billed, audited := newLedger(), newLedger()
			billing := newConsumerOf(t, topic, "billing", func(ctx context.Context, body string) error {
				if failing.Load() {
					return retry.Permanent(errFailed)
				}
				return handles(billed)(ctx, body)
			}, lookupds, soon, nsqx.WithDeadLetter("dead"))
			audit := newConsumerOf(t, topic, "audit", handles(audited), lookupds, soon)
			for _, s := range s {
				s.EnsureChannel(topic, "billing")
				s.EnsureChannel(topic, "audit")
			}
			rb, ra := start(t, billing), start(t, audit)
			for i, s := range s {
				publish(t, s, topic, numbered([]string{"a", "b"}[i], n)...)
			}
			eventually(t, func() bool {
				return billing.Stats().DeadLettered == 2*n && audit.Stats().Finished == 2*n
			}, "both channels to settle all")

			failing.Store(false)
			opts := []nsqx.RedriveOption{lookupds, nsqx.WithRedriveIdle(redriveIdle), nsqx.WithRedriveRate(2000), nsqx.WithRedriveLimit(2*n - 3)}
			if !http { // there is another service
				for _, s := range s {
					opts = append(opts, nsqx.WithRedriveHTTP(s.Addr(), startLookupAnswer(t, saying(500, "no")).URL))
				}
			}
			report, err := nsqx.Redrive(t.Context(), "dead", "", opts...)
			if err != nil || report != (nsqx.RedriveReport{Redriven: 2*n - 3}) {
				t.Fatalf("Redrive: %+v, %v", report, err)
			}
			eventually(t, func() bool { return audit.Stats().Skipped == 2*n-3 }, "the other channel to skip all")
			billed.wait(t, 2*n-3)
			if got := audit.Stats().Finished; got != 2*n {
				t.Errorf("the other channel has handled %d, want %d", got, 2*n)
			}
			rb.mustStop()
			for _, s := range s {
				s.Do("/channel/delete?topic=" + topic + "&channel=billing")
			}
			deleted(t, l, "billing")

			report, err = nsqx.Redrive(t.Context(), "dead", "", opts...)
			if err != nil || report != (nsqx.RedriveReport{NoChannel: 3}) {
				t.Errorf("Redrive without the channel: %+v, %v", report, err)
			}
			left := 0
			for _, s := range s {
				left += s.Channel("dead", "redrive").Unfinished()
			}
			if left != 3 {
				t.Errorf("%d dead letters are left, want 3", left)
			}
			ra.mustStop()
			if audited.extra() > 0 || billed.extra() > 0 {
				t.Errorf("handled twice: %d and %d", audited.extra(), billed.extra())
			}
		})
	}
}

// deleted deletes a channel at nsqlookupd, as nsqadmin does.
func deleted(t *testing.T, l *testnsqd.Lookupd, channel string) {
	t.Helper()
	r, err := http.Post("http://"+l.HTTPAddr()+"/channel/delete?topic="+topic+"&channel="+channel, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
}

// TestRedriveFindsOtherChannels: a new channel gets nothing of what was published before. Redrive
// names the channel that has it, and makes none.
func TestRedriveFindsOtherChannels(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t)
	s := testnsqd.Start(t, l.Register)
	s.EnsureChannel("dead", "archive")
	publish(t, s, "dead", numbered("x", 4)...)
	known, err := admin.NewLookupd(l.HTTPAddr(), admin.Config{})
	must(t, err)
	eventually(t, func() bool {
		channels, err := known.Channels(t.Context(), "dead")
		return err == nil && slices.Contains(channels, "archive")
	}, "nsqd to register")
	for name, opt := range map[string]nsqx.Option{"nsqlookupd": nsqx.WithLookupd(l.HTTPAddr()), "nsqd": nsqx.WithNSQD(s.Addr())} {
		at := nsqx.WithRedriveHTTP(s.Addr(), s.HTTPAddr())
		if name == "nsqlookupd" {
			at = nil
		}
		report, err := nsqx.Redrive(t.Context(), "dead", "orders", opt, at, nsqx.WithRedriveIdle(redriveIdle))
		if !isA[*nsqx.RedriveChannelError](err) || !strings.Contains(err.Error(), "archive (4)") || report != (nsqx.RedriveReport{}) {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
	if st := s.NSQD().GetStats("dead", "redrive", false); len(st.Topics) > 0 && len(st.Topics[0].Channels) > 0 {
		t.Errorf("channels %+v", st.Topics[0].Channels)
	}
	report, err := nsqx.Redrive(t.Context(), "dead", "orders", nsqx.WithNSQD(s.Addr()), nsqx.WithRedriveChannel("archive"), nsqx.WithRedriveIdle(redriveIdle))
	if err != nil || report != (nsqx.RedriveReport{Redriven: 4}) {
		t.Errorf("from the other channel: %+v, %v", report, err)
	}
}
