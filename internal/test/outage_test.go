package test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
)

// away takes nsqds away, or lets them come back. nsqlookupds are another matter.
func away(away bool, servers ...*nsqxtest.Server) {
	for _, s := range servers {
		s.Refuse(away)
		if away {
			s.Disconnect()
		}
	}
	synctest.Wait()
}

// TestOutageOfAllNSQDs (row G7): all nsqds leave, and nsqlookupd names none: Healthy fails, with the
// reasons, until one is back, which is within 10 s.
func TestOutageOfAllNSQDs(t *testing.T) {
	for _, tt := range []struct {
		outage time.Duration
		named  bool // when they are back
	}{{20 * time.Second, true}, {5 * time.Minute, false}, {5 * time.Minute, true}, {10 * time.Minute, false}, {24 * time.Hour, true}} {
		bubble(t, fmt.Sprint(tt.outage, " named ", tt.named), func(t *testing.T) {
			s := nsqxtest.NewServers(t, 3)
			l, opt := newLookupds(2)
			for _, l := range l {
				l.set(s[0].Addr(), s[1].Addr(), s[2].Addr())
			}
			var log logbook
			c := newLoggedConsumer(t, &log, done, opt, dialOnly(s))
			p := newPublisherOf(t, opt, dialOnly(s))
			nsqxtest.Run(t, c)
			wantReady(t, c, true, nil)
			time.Sleep(time.Minute)
			for _, l := range l {
				l.set()
			}
			away(true, s...)
			wantReady(t, c, true, nsqx.ErrNoNSQD)
			time.Sleep(time.Second)
			for began := time.Now(); time.Since(began) < tt.outage; time.Sleep(min(time.Minute, tt.outage/4)) {
				wantReady(t, c, true, nsqx.ErrNoNSQD)
				wantErr(t, "the reason", c.Healthy(), syscall.ECONNREFUSED)
				wantErr(t, "publisher", p.Healthy(), nsqx.ErrNoNSQD)
			}
			minutes := int(tt.outage / time.Minute)
			if n := log.count(slog.LevelError, "nsqd is still down"); n < minutes/2 || n > minutes {
				t.Errorf("%d lines about nsqds that are still down, in %d minutes", n, minutes)
			}
			if n, most := s[0].Dials(), 40+int(min(tt.outage, time.Hour)/(3*time.Second)+tt.outage/(20*time.Second)); n > most {
				t.Errorf("%d dials, want at most %d", n, most)
			}
			away(false, s...)
			if tt.named {
				for _, l := range l {
					l.set(s[0].Addr(), s[1].Addr(), s[2].Addr())
				}
			}
			time.Sleep(10 * time.Second)
			want(t, "connected", addrs(c), "nsqd-1 nsqd-2 nsqd-3")
			wantReady(t, c, true, nil)
			wantErr(t, "publisher", p.Healthy(), nil)
			publish(s[2], 1)
			s[2].Await("orders", "billing", finished(1))
		})
	}
}

// TestOutageWithLookupds: the nsqlookupds are away, too, and know nothing when they are back.
func TestOutageWithLookupds(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		l, opt := newLookupds(2)
		for _, l := range l {
			l.set(s[0].Addr())
		}
		c := newConsumer(t, done, opt, dialOnly(s))
		nsqxtest.Run(t, c)
		time.Sleep(5 * time.Minute)
		away(true, s...)
		for _, l := range l {
			l.forget()
			l.misbehaves(unanswered(false))
		}
		time.Sleep(5 * time.Minute)
		wantReady(t, c, true, nsqx.ErrNoNSQD)
		for _, reason := range []string{syscall.ECONNREFUSED.Error(), "nsqlookupd lookupd-1:4161: context deadline exceeded", "nsqlookupd lookupd-2:4161"} {
			if got := c.Healthy().Error(); !strings.Contains(got, reason) {
				t.Errorf("health %q, want the reason %q", got, reason)
			}
		}
		for _, l := range l {
			l.misbehaves(nil)
		}
		time.Sleep(time.Minute)
		wantReady(t, c, true, nsqx.ErrNoNSQD)
		away(false, s...)
		time.Sleep(10 * time.Second)
		want(t, "connected", addrs(c), "nsqd-1")
		time.Sleep(30 * time.Second) // a poll begins up to 72 s after the last, which may have hung for 20 s
		for _, l := range l {
			want(t, "registered again", l.knows("billing"), true)
		}
	})
}

// TestTopicDeleted: a topic that was deleted by name is no outage, for none of its consumers.
func TestTopicDeleted(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		l, opt := newLookupds(2)
		for _, l := range l {
			l.set(s[0].Addr())
		}
		a, b := newConsumer(t, done, opt, dialOnly(s)), newConsumer(t, done, opt, dialOnly(s))
		nsqxtest.Run(t, a)
		nsqxtest.Run(t, b)
		time.Sleep(5 * time.Minute)
		for _, l := range l {
			l.set()
		}
		away(true, s...)
		time.Sleep(10 * time.Minute)
		wantReady(t, a, true, nsqx.ErrNoNSQD)
		l[0].forget()
		time.Sleep(10 * time.Minute)
		wantReady(t, a, true, nsqx.ErrNoNSQD) // the other knows it
		want(t, "registered again", l[0].knows("billing"), true)
		l[1].forget()
		time.Sleep(5 * time.Minute)
		for _, c := range []*nsqx.Consumer[string]{a, b} {
			wantReady(t, c, true, nil)
			want(t, "addresses", addrs(c), "")
		}
		dials := s[0].Dials()
		time.Sleep(time.Hour)
		want(t, "dials", s[0].Dials(), dials)

		away(false, s...)
		l[1].set(s[0].Addr()) // it is made again
		time.Sleep(10 * time.Second)
		want(t, "addresses", addrs(a), "nsqd-1")
		want(t, "addresses", addrs(b), "nsqd-1")
	})
}

// TestDeletedButConnected: what nsqlookupd says of the topic does not count against an nsqd that is
// connected, or was since.
func TestDeletedButConnected(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		l, opt := newLookupds(1)
		l[0].set(s[0].Addr())
		c := newConsumer(t, done, opt, dialOnly(s))
		nsqxtest.Run(t, c)
		time.Sleep(time.Minute)
		l[0].forget()
		time.Sleep(10 * time.Minute)
		want(t, "connected", addrs(c), "nsqd-1")
		away(true, s...)
		time.Sleep(10 * time.Minute)
		wantReady(t, c, true, nsqx.ErrNoNSQD)
		away(false, s...)
		time.Sleep(10 * time.Second)
		want(t, "connected", addrs(c), "nsqd-1")
	})
}

// TestOneAwayForLong: an nsqd that nobody names while others work is dialled once a minute, quietly,
// and forgotten after a day.
func TestOneAwayForLong(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		l, opt := newLookupds(1)
		l[0].set(s[0].Addr(), s[1].Addr())
		var log logbook
		c := newLoggedConsumer(t, &log, done, opt, dialOnly(s))
		nsqxtest.Run(t, c)
		time.Sleep(time.Minute)
		l[0].set(s[0].Addr())
		away(true, s[1])
		time.Sleep(10 * time.Minute)
		dials, warnings := s[1].Dials(), log.count(slog.LevelWarn, "cannot connect")
		time.Sleep(time.Hour)
		if n := s[1].Dials() - dials; n < 58 || n > 82 {
			t.Errorf("%d dials in an hour", n)
		}
		want(t, "warnings", log.count(slog.LevelWarn, "cannot connect"), warnings)
		want(t, "addresses", addrs(c), "nsqd-1 !nsqd-2")
		wantErr(t, "health", c.Healthy(), nil)
		time.Sleep(22 * time.Hour)
		want(t, "addresses", addrs(c), "nsqd-1 !nsqd-2")
		l[0].set(s[0].Addr(), s[1].Addr())
		s[1].Refuse(false)
		time.Sleep(72 * time.Second)
		want(t, "named again", addrs(c), "nsqd-1 nsqd-2")

		l[0].set(s[0].Addr())
		away(true, s[1])
		time.Sleep(25 * time.Hour)
		want(t, "addresses", addrs(c), "nsqd-1")
	})
}

// TestMovesForADay (row G9): nsqds that move to new addresses each minute of a day leave nothing
// behind that grows.
func TestMovesForADay(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const nsqds, most = 3, 24
		s := nsqxtest.NewServers(t, nsqds)
		var generation, open, highest, dials atomic.Int64
		l, opt := newLookupds(2)
		move := func() {
			n := generation.Add(1)
			var named []string
			for i := range s {
				named = append(named, fmt.Sprintf("nsqd-%d-%d:4150", i, n))
			}
			for _, l := range l {
				l.set(named...)
			}
			for _, s := range s {
				s.Disconnect()
			}
		}
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			highest.Store(max(highest.Load(), open.Add(1)))
			defer open.Add(-1)
			var i, n int64
			_, _ = fmt.Sscanf(addr, "nsqd-%d-%d:4150", &i, &n)
			switch {
			case n == generation.Load():
				return s[i].DialContext(ctx, network, addr)
			case i == 0:
				<-ctx.Done() // nothing answers
				return nil, ctx.Err()
			}
			return nil, syscall.ECONNREFUSED
		}
		move()
		c := newConsumer(t, done, opt, nsqx.WithMaxNSQDs(most), nsqx.WithConn(conn.Config{DialContext: dial}), nsqx.WithLookupInterval(10*time.Second))
		nsqxtest.Run(t, c)
		goroutines := 0
		for minute := range 24 * 60 {
			time.Sleep(time.Minute)
			st := c.Stats()
			connected := 0
			for _, conn := range st.Connections {
				if conn.Connected {
					connected++
				}
			}
			if connected != nsqds || len(st.Connections) > most || c.Healthy() != nil {
				t.Fatalf("minute %d: %d connected of %d, health %v", minute, connected, len(st.Connections), c.Healthy())
			}
			if minute == 60 {
				goroutines = bubbleGoroutines()
			}
			move()
		}
		time.Sleep(time.Minute)
		if n := bubbleGoroutines(); n > goroutines+5 {
			t.Errorf("%d goroutines after an hour, %d after a day", goroutines, n)
		}
		if n := dials.Load(); highest.Load() > most || n > 24*60*(2*most+8*nsqds) {
			t.Errorf("%d dials, %d at once", n, highest.Load())
		}
	})
}
