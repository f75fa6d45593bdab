package test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx/retry"
)

// How long the log of a day, of an outage and of a night is.

// TestNormalDay: a day without a failure leaves at most 20 lines.
func TestNormalDay(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newScene(t, 3, 2)
		handled := new(atomic.Int64)
		again := new(atomic.Int64)
		_, stop := s.consume(func(_ context.Context, n int) error {
			if n%100 == 0 && again.Add(1)%2 == 1 {
				return retry.After(time.Minute, nil) // no failure
			}
			handled.Add(1)
			return nil
		})
		for i := range 24 * 60 {
			s.publish(i%3, i)
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Hour)
		stop()
		want(t, "handled", handled.Load(), 24*60)
		if n := len(s.lines.all()); n > 20 {
			t.Errorf("%d lines:\n%s", n, strings.Join(s.lines.all(), "\n"))
		}
		want(t, "warnings", s.count("level=WARN")+s.count("level=ERROR"), 0)
	})
}

// TestOutageOfAnHour: a line a minute, and begin and end.
func TestOutageOfAnHour(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newScene(t, 3, 0)
		s.consume(works)
		time.Sleep(time.Minute)
		s.servers[1].Stop()
		time.Sleep(time.Hour)
		s.servers[1].Start("")
		time.Sleep(time.Minute)
		want(t, "down", s.count("connection lost"), 1)
		if n := s.count("nsqd is still down"); n < 45 || n > 60 {
			t.Errorf("%d lines that it is still down", n)
		}
		want(t, "up", s.count("connected again"), 1)
		want(t, "lines", len(s.lines.all()), 3+2+s.count("nsqd is still down"))
	})
}

// TestNightOfAFleet: of 50 nsqds five are down for more than an hour, and one of two nsqlookupds for an hour. The log is as long
// as the outages, not as the fleet: each has its begin and its end, and what is down shares a line a minute.
func TestNightOfAFleet(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newScene(t, 50, 2)
		for n := range s.servers {
			s.publish(n, n)
		}
		s.consume(works)
		time.Sleep(time.Hour)
		began := len(s.lines.all())
		for _, server := range s.servers[:5] {
			server.Stop()
			time.Sleep(5 * time.Minute)
		}
		s.lookupds[1].Stop()
		time.Sleep(time.Hour)
		s.lookupds[1].Start()
		for _, server := range s.servers[:5] {
			server.Start("")
			time.Sleep(5 * time.Minute)
		}
		time.Sleep(time.Hour)
		if began > 4 {
			t.Errorf("%d lines of a start", began)
		}
		for text, n := range map[string]int{
			"connection lost": 5, "nobody names it any more": 5, "connected again": 5, "nsqlookupd cannot be asked for nsqds": 1, "nsqlookupd answers again": 1, "level=ERROR": 0,
		} {
			want(t, text, s.count(text), n)
		}
		down, source := s.count("nsqd is still down"), s.count("nsqlookupd still fails")
		if down > 20 || source > 60 {
			t.Errorf("%d and %d lines of what is still down", down, source)
		}
		want(t, "lines", len(s.lines.all()), began+5+5+5+1+1+down+source)
		perMinute(t, s.lines.all()[began:], 3)
	})
}

// perMinute fails the test if a minute has more lines.
func perMinute(t *testing.T, lines []string, most int) {
	t.Helper()
	minutes := make(map[string]int)
	for _, line := range lines {
		minute := line[:len("time=00:00")]
		if minutes[minute]++; minutes[minute] == most+1 {
			t.Errorf("more than %d lines in the minute of\n%s", most, line)
		}
	}
}
