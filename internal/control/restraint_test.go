package control

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

// TestRestraint lasts a minute, twice as long when another one follows, and at most an hour. It is
// forgiven after as long again.
func TestRestraint(t *testing.T) {
	start := time.Now()
	var r restraint
	at := time.Duration(0)
	gaveBack := func(what string, lasts time.Duration) {
		t.Helper()
		r.gaveBack(start.Add(at))
		check.Want(t, what, r.until.Sub(start)-at, lasts)
	}
	gaveBack("at first", time.Minute)
	at = time.Minute - 1
	gaveBack("within a restraint", 1)
	at = time.Minute
	gaveBack("just after it", 2*time.Minute)
	for _, minutes := range []time.Duration{4, 8, 16, 32, 60, 60, 60} {
		at = r.until.Sub(start)
		gaveBack("again and again", minutes*time.Minute)
	}
	at = r.until.Add(time.Hour).Sub(start)
	gaveBack("an hour after one of an hour", time.Hour)
	at = r.until.Add(time.Hour + 1).Sub(start)
	gaveBack("more than an hour after one of an hour", time.Minute)
	at = r.until.Add(time.Minute).Sub(start)
	gaveBack("a minute after one of a minute", 2*time.Minute)
	at = r.until.Add(2 * time.Minute).Sub(start)
	gaveBack("two minutes after one of two minutes", 4*time.Minute)
	at = r.until.Add(4*time.Minute + 1).Sub(start)
	gaveBack("more than four minutes after one of four", time.Minute)
}

// TestRestrained: from the moment at which messages were given back until its end.
func TestRestrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{}, takes(0))
		verify := func(what string, restrained bool) {
			t.Helper()
			s.locked(func() { check.Want(t, what, s.restraint.holds(time.Now()), restrained) })
		}
		verify("at the start", false)
		s.restraint.gaveBack(time.Now())
		verify("at once", true)
		time.Sleep(time.Minute - 1)
		verify("just before the end", true)
		time.Sleep(time.Nanosecond)
		verify("at the end", false)
		s.restraint.gaveBack(time.Now())
		time.Sleep(time.Minute)
		verify("the second one", true)
		s.SetMaxInFlight(5)
		verify("after SetMaxInFlight", false)
		s.restraint.gaveBack(time.Now())
		time.Sleep(time.Minute)
		verify("the first one after SetMaxInFlight", false)
	})
}
