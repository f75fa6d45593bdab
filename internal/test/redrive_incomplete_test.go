package test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// slowTelemetry takes long to make the middleware of a producer.
type slowTelemetry struct{ observe.NoTelemetry }

func (slowTelemetry) Producer(observe.ProducerInfo) handler.SendMiddleware {
	time.Sleep(300 * time.Millisecond)
	return nil
}

// TestRedriveBusyIsNotIdle: the idle time does not end while Redrive works on a dead letter, whatever
// takes so long. If a filter does, the letter stays, and Redrive says so.
func TestRedriveBusyIsNotIdle(t *testing.T) {
	bubble(t, "telemetry", func(t *testing.T) {
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(1)...)
		r := redrive(t.Context(), t, s, "", nsqx.WithTelemetry(slowTelemetry{}), nsqx.WithRedriveIdle(100*time.Millisecond))
		want(t, "report", r.report, nsqx.RedriveReport{Redriven: 1})
		wantErr(t, "error", r.err, nil)
	})
	bubble(t, "filter", func(t *testing.T) {
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(1)...)
		r := redrive(t.Context(), t, s, "", nsqx.WithRedriveFilter(func(*handler.Message) bool {
			time.Sleep(12 * time.Second)
			return true
		}))
		want(t, "dead letters", lettersLeft(s), 1-r.report.Redriven)
		if r.report.Redriven == 0 && (r.err == nil || !strings.Contains(r.err.Error(), "WithRedriveIdle")) {
			t.Errorf("error is %v", r.err)
		}
	})
}

// TestRedriveIncomplete: Redrive does not say that all is done if dead letters may be where it could
// not look, or are there and did not come.
func TestRedriveIncomplete(t *testing.T) {
	for name, tt := range map[string]struct {
		setUp func(l []*nsqxtest.Lookupd, s []*nsqxtest.Server)
		want  string // in the error; "" for none
	}{
		"all reached": {setUp: func([]*nsqxtest.Lookupd, []*nsqxtest.Server) {}},
		"nsqd is down": {want: "refused", setUp: func(_ []*nsqxtest.Lookupd, s []*nsqxtest.Server) {
			s[1].Refuse(true)
		}},
		"nsqd is frozen": {want: "identify", setUp: func(_ []*nsqxtest.Lookupd, s []*nsqxtest.Server) {
			s[1].On("IDENTIFY", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.Drop() })
		}},
		"nsqd goes": {want: "refused", setUp: func(_ []*nsqxtest.Lookupd, s []*nsqxtest.Server) {
			time.AfterFunc(time.Second, func() {
				s[1].Refuse(true)
				s[1].Disconnect()
			})
		}},
		"paused": {want: "has 1 messages", setUp: func(_ []*nsqxtest.Lookupd, s []*nsqxtest.Server) {
			s[1].Pause("dead", "redrive")
			s[1].Publish("dead", deadLetters(1)...)
		}},
		"deferred": {want: "has 1 messages", setUp: func(_ []*nsqxtest.Lookupd, s []*nsqxtest.Server) {
			s[1].PublishMessage("dead", deadLetters(1)[0], nsqxtest.WithDelay(time.Hour))
		}},
		"it says nothing": {setUp: func(_ []*nsqxtest.Lookupd, s []*nsqxtest.Server) {
			s[1].RefuseHTTP(true)
		}},
		"nsqlookupd is down": {want: "nsqlookupd-2.test", setUp: func(l []*nsqxtest.Lookupd, _ []*nsqxtest.Server) {
			l[1].Stop()
		}},
		"nsqlookupd goes": {setUp: func(l []*nsqxtest.Lookupd, _ []*nsqxtest.Server) {
			time.AfterFunc(time.Second, l[1].Stop)
		}},
	} {
		bubble(t, name, func(t *testing.T) {
			l := nsqxtest.NewLookupds(t, 2)
			s := nsqxtest.NewServers(t, 2, nsqxtest.WithLookupds(l...), nsqxtest.WithPatience(time.Hour))
			for _, s := range s {
				s.Unpause("orders", "billing")
				s.Unpause("dead", "redrive")
			}
			s[0].Publish("dead", deadLetters(1)...)
			tt.setUp(l, s)
			time.Sleep(headStart)
			began := time.Now()
			report, err := nsqx.Redrive(t.Context(), "dead", "", nsqxtest.LookupdOption(l...), nsqx.WithLogger(discard))
			want(t, "report", report, nsqx.RedriveReport{Redriven: 1})
			if tt.want == "" {
				wantErr(t, "error", err, nil)
				return
			}
			e, ok := errors.AsType[*nsqx.RedriveIncompleteError](err)
			if !ok || e.Topic != "dead" || e.Channel != "redrive" || len(e.Reasons) != 1 || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v", err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestRedriveOfNothing: that nothing came is believed if nsqd, or a nsqlookupd, can be asked what there is.
func TestRedriveOfNothing(t *testing.T) {
	for name, refuse := range map[string]bool{"known": false, "unknown": true} {
		bubble(t, name, func(t *testing.T) {
			s := newRedriveServer(t)
			s.RefuseHTTP(refuse)
			r := redrive(t.Context(), t, s, "")
			want(t, "report", r.report, nsqx.RedriveReport{})
			_, incomplete := errors.AsType[*nsqx.RedriveIncompleteError](r.err)
			want(t, "incomplete", incomplete, refuse)
			want(t, "failed", r.err != nil, refuse)
		})
	}
}

// TestRedriveLateNSQD: an nsqd that is reached late has the whole idle time to send.
func TestRedriveLateNSQD(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2, nsqxtest.WithPatience(time.Hour))
		s[0].Unpause("orders", "billing")
		s[1].Unpause("dead", "redrive")
		s[1].PublishMessage("dead", deadLetters(1)[0], nsqxtest.WithDelay(23*time.Second))
		s[1].Refuse(true)
		time.AfterFunc(5*time.Second, func() { s[1].Refuse(false) }) // dialled again within 15 s
		time.Sleep(headStart)
		report, err := nsqx.Redrive(t.Context(), "dead", "", nsqxtest.Option(s...), nsqx.WithLogger(discard), nsqx.WithRedriveIdle(20*time.Second))
		want(t, "report", report, nsqx.RedriveReport{Redriven: 1})
		wantErr(t, "error", err, nil)
	})
}
