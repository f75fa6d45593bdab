package redial

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/notify"
)

var (
	permanent = &conn.Error{Addr: addrA, Phase: conn.PhaseAuth, Err: conn.ErrNoPermissions}
	rejected  = &conn.Error{Addr: addrA, Phase: conn.PhaseStream, Err: &conn.ServerError{Code: "E_BAD_TOPIC"}}
)

// base is the middle of the n-th pause, from 0.
func base(n int) time.Duration { return min(100*time.Millisecond<<n, 10*time.Second*2/3) }

// TestSchedule: pauses double from 100 ms to 6.7 s, each with half of it as jitter both ways, so
// that none is above 10 s.
func TestSchedule(t *testing.T) {
	const rounds, pauses = 500, 12
	var low, high [pauses]float64 // smallest and largest pause of all rounds, in parts of base
	for i := range low {
		low[i] = 2
	}
	for range rounds {
		s := newSchedule()
		for n := range pauses {
			pause := dialPause(s, io.EOF)
			wantPause(t, fmt.Sprint("failure ", n+1), pause, base(n))
			if pause > maxPause {
				t.Errorf("pause is %v, want at most %v", pause, maxPause)
			}
			part := float64(pause) / float64(base(n))
			low[n], high[n] = min(low[n], part), max(high[n], part)
		}
	}
	for n := range pauses {
		if low[n] > 0.55 || high[n] < 1.45 {
			t.Errorf("failure %d: pauses are %.2f to %.2f of the middle, want 0.5 to 1.5", n+1, low[n], high[n])
		}
	}
}

// TestSchedulePermanent: 5 to 10 s from the first failure. Meanwhile the schedule advances.
func TestSchedulePermanent(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	s := newSchedule()
	for range 500 {
		pause := dialPause(s, permanent)
		low, high = min(low, pause), max(high, pause)
	}
	if low < 5*time.Second || low > 5250*time.Millisecond || high >= 10*time.Second || high < 9750*time.Millisecond {
		t.Errorf("pauses are %v to %v, want 5 to 10 s", low, high)
	}
	wantPause(t, "after many permanent failures", dialPause(s, io.EOF), base(20))
}

// TestDialSchedule measures the times of dials that fail.
func TestDialSchedule(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, nil)
		f.net.Refuse(errRefused)
		f.run()
		f.Connect(addrA)
		time.Sleep(2 * time.Minute)
		events := f.events.All()
		if len(events) < 12 {
			t.Fatalf("%d failures", len(events))
		}
		check.Want(t, "first failure", events[0].at, 0)
		for i, e := range events {
			check.Want(t, "kind", e.kind, notify.DialError)
			check.WantErr(t, "error", e.err, errRefused)
			wantPause(t, fmt.Sprint("failure ", i+1), e.retry, base(i))
			if i > 0 {
				check.Want(t, "dialled after the pause", e.at-events[i-1].at, events[i-1].retry)
			}
		}
		check.Want(t, "Dials", f.Stats()[0].Dials, uint64(len(events)))
	})
}

// TestSubscriptionSchedule: a subscribed connection must last 10 s to begin the schedule again.
func TestSubscriptionSchedule(t *testing.T) {
	for _, tt := range []struct {
		lasts time.Duration
		want  time.Duration
	}{
		{0, base(5)},
		{10*time.Second - 1, base(5)},
		{10 * time.Second, base(0)},
		{time.Minute, base(0)},
	} {
		check.Bubble(t, tt.lasts.String(), func(t *testing.T) {
			f := newFixture(t, Config{Sub: orders}, nil)
			f.net.Refuse(errRefused)
			f.run()
			f.Connect(addrA)
			for range 4 {
				time.Sleep(f.last().retry)
			}
			pause := f.last().retry
			wantPause(t, "fifth failure", pause, base(4))
			f.net.Refuse(nil)
			time.Sleep(pause)
			f.wantState("connected")
			time.Sleep(tt.lasts)
			f.cut()
			f.wantState("waiting")
			e := f.last()
			check.Want(t, "kind", e.kind, notify.Disconnect)
			wantPause(t, "after the connection", e.retry, tt.want)
			check.Want(t, "RetryAt", time.Until(f.Stats()[0].RetryAt), e.retry)
		})
	}
}

// TestSubscriptionRefused: nsqd refuses the channel, which a quick retry does not change.
func TestSubscriptionRefused(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, answering("SUB", "E_BAD_TOPIC SUB topic name"))
		f.run()
		f.Connect(addrA)
		for range 5 {
			e := f.last()
			check.Want(t, "kind", e.kind, notify.DialError)
			if e.retry < 5*time.Second || e.retry >= 10*time.Second {
				t.Errorf("pause is %v, want 5 to 10 s", e.retry)
			}
			time.Sleep(e.retry)
		}
		f.wantDials(6)
	})
}

// TestPublisherSchedule: when a publishing connection is dialled again.
func TestPublisherSchedule(t *testing.T) {
	for name, tt := range map[string]struct {
		script  func(*fake.Peer)
		publish bool
		lasts   time.Duration
		want    time.Duration // middle of the pause after two short connections; 0: none
	}{
		"unused, short": {lasts: 10*time.Second - 1, want: base(2)},
		"unused, long":  {lasts: 10 * time.Second, want: base(0)},
		"published":     {publish: true},
		"rejected":      {script: answering("PUB", "E_BAD_TOPIC PUB topic name"), publish: true, want: base(0)},
		"failed":        {script: answering("PUB", "E_PUB_FAILED PUB failed"), publish: true, want: base(2)},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			f := newFixture(t, Config{}, func(p *fake.Peer) {
				if p.N > 2 && tt.script != nil {
					tt.script(p)
					return
				}
				serve(p)
			})
			f.run()
			f.Connect(addrA)
			for i := range 2 {
				f.wantState("connected")
				f.cut()
				pause := f.last().retry
				wantPause(t, "unused", pause, base(i))
				time.Sleep(pause)
			}
			f.wantState("connected")
			dials := f.net.Dials()
			if tt.publish {
				_ = f.publish()
			}
			time.Sleep(tt.lasts)
			if tt.script == nil {
				f.cut()
			}
			synctest.Wait()
			e := f.events.All()[5]
			check.Want(t, "kind", e.kind, notify.Disconnect)
			if tt.want > 0 {
				wantPause(t, "pause", e.retry, tt.want)
				return
			}
			check.Want(t, "pause", e.retry, 0)
			f.wantState("connected")
			f.wantDials(dials + 1)
		})
	}
}

func TestLasting(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, false},
		{&conn.Error{Phase: conn.PhaseDial, Err: io.EOF}, false},
		{permanent, true},
		{fmt.Errorf("wrapped: %w", permanent), true},
		{errors.Join(io.EOF, permanent), true},
		{rejected, false},
	} {
		check.Want(t, fmt.Sprint(tt.err), Lasting(tt.err), tt.want)
	}
	check.Want(t, "a rejected publish is permanent", rejected.Permanent(), true)
}
