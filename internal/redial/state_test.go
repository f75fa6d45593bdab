package redial

import (
	"io"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
)

// TestAddStats: every counter is added, every other field is that of the later connection.
func TestAddStats(t *testing.T) {
	past, later := filled(1000), filled(1)
	sum := addStats(past, later)
	p, l, s := reflect.ValueOf(past), reflect.ValueOf(later), reflect.ValueOf(sum)
	counters := 0
	for i := range s.NumField() {
		name := s.Type().Field(i).Name
		if s.Field(i).Kind() == reflect.Uint64 {
			counters++
			check.Want(t, name, s.Field(i).Uint(), p.Field(i).Uint()+l.Field(i).Uint())
			continue
		}
		check.Want(t, name, s.Field(i).Interface(), l.Field(i).Interface())
	}
	check.Want(t, "has counters", counters > 0, true)
	check.Want(t, "past is unchanged", past, filled(1000))
}

// TestPastStats: the counters of ended connections stay, and their messages in flight do not.
func TestPastStats(t *testing.T) {
	past, ended := filled(1000), filled(1)
	sum, got := reflect.ValueOf(addStats(past, ended)), reflect.ValueOf(pastStats(past, ended))
	for i := range got.NumField() {
		name, want := got.Type().Field(i).Name, sum.Field(i)
		if want.Kind() == reflect.Int && name != "MaxRDY" {
			want = reflect.Zero(want.Type())
		}
		check.Want(t, name, got.Field(i).Interface(), want.Interface())
	}
}

// filled returns Stats whose fields all differ.
func filled(n int) (s conn.Stats) {
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		n++
		switch f := v.Field(i); f.Interface().(type) {
		case time.Time:
			f.Set(reflect.ValueOf(time.Unix(int64(n), 0)))
		case string:
			f.SetString(time.Duration(n).String())
		case uint64:
			f.SetUint(uint64(n))
		default:
			f.SetInt(int64(n))
		}
	}
	return s
}

// TestStats over several connections of one address.
func TestStats(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{}, nil)
		f.net.Refuse(errRefused)
		f.Connect(addrA)
		got := f.Stats()[0]
		check.Want(t, "address", got.Addr, addrA)
		check.Want(t, "dials before Start", got.Dials, 0)
		check.Want(t, "RetryAt before Start", got.RetryAt.IsZero(), true)
		f.run()
		got = f.Stats()[0]
		check.Want(t, "dials", got.Dials, 1)
		check.WantErr(t, "LastErr", got.LastErr, errRefused)
		check.Want(t, "RetryAt is ahead", got.RetryAt.After(time.Now()), true)
		check.Want(t, "Connected", got.Connected, false)
		f.net.Refuse(nil)
		f.Redial(addrA)
		for n := range 3 {
			f.wantState("connected")
			for range 2 {
				check.WantErr(t, "Publish", f.publish(), nil)
			}
			got = f.Stats()[0]
			check.Want(t, "Published", got.Published, uint64(2*n+2))
			check.Want(t, "Connected", got.Connected, true)
			check.WantErr(t, "LastErr", got.LastErr, nil)
			check.Want(t, "RetryAt", got.RetryAt.IsZero(), true)
			check.Want(t, "dials", got.Dials, uint64(n+2))
			f.cut()
		}
	})
}

// TestTried: every address that is wanted was dialled once, with or without success. The owner is
// told of each failed dial and each lost connection.
func TestTried(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, nil)
		want := func(what string, tried bool, calls int64) {
			t.Helper()
			synctest.Wait()
			check.Want(t, what, f.Tried(), tried)
			check.Want(t, what+": calls", f.tried.Load(), calls)
		}
		want("without an address", true, 0)
		f.Connect(addrA)
		want("not started", false, 0)
		f.net.Refuse(errRefused)
		release := f.hold()
		f.run()
		want("dialling", false, 0)
		release()
		want("refused", true, 1)
		f.net.Refuse(nil)
		f.Redial(addrA)
		f.wantState("connected")
		want("connected", true, 1)
		f.cut()
		want("lost again", true, 2)
		f.Redial(addrA)
		f.wantState("connected")
		release = f.hold()
		f.Connect(addrB)
		want("dialling another", false, 2)
		f.Forget(addrB)
		want("other forgotten while it is dialled", true, 2)
		f.Connect(addrB)
		want("other added again", false, 2)
		release()
		want("other connected", true, 2)
		f.Forget(addrA)
		f.conn(addrA).Abort(nil)
		want("lost, and not named", true, 3)
	})
}

func TestFailures(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := started(t, Config{Sub: orders}, addrA)
		check.Want(t, "connected", len(f.Failures()), 0)
		f.net.Refuse(errRefused)
		f.Connect(addrB)
		synctest.Wait()
		f.Conns()[0].Abort(io.ErrNoProgress)
		synctest.Wait()
		errs := f.Failures()
		if len(errs) != 2 {
			t.Fatalf("failures are %v", errs)
		}
		check.WantErr(t, "first", errs[0], io.ErrNoProgress)
		check.WantErr(t, "second", errs[1], errRefused)
		f.net.Refuse(nil)
		f.Redial(addrA)
		f.Redial(addrB)
		synctest.Wait()
		check.Want(t, "connected again", len(f.Failures()), 0)
	})
}

// TestUnconfirmed: the connections that ended with an error after Close, forgotten ones included.
func TestUnconfirmed(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after func(f *fixture) // Close; after it is to end both connections
		want          int
	}{
		"confirmed":             {nil, func(f *fixture) { f.closeWrite(addrA); f.closeWrite(addrB) }, 0},
		"cut":                   {nil, func(f *fixture) { f.closeWrite(addrA); f.cut() }, 1},
		"both cut":              {nil, func(f *fixture) { f.conn(addrA).Abort(nil); f.conn(addrB).Abort(nil) }, 2},
		"cut before Close":      {func(f *fixture) { f.cut() }, func(f *fixture) { f.closeWrite(addrA) }, 0},
		"forgotten, then cut":   {func(f *fixture) { f.Forget(addrB) }, func(f *fixture) { f.closeWrite(addrA); f.cut() }, 1},
		"forgotten, confirmed":  {func(f *fixture) { f.Forget(addrB) }, func(f *fixture) { f.closeWrite(addrA); f.closeWrite(addrB) }, 0},
		"forgotten after Close": {nil, func(f *fixture) { f.closeWrite(addrA); f.Forget(addrB); f.cut() }, 1},
		"cut, then forgotten":   {nil, func(f *fixture) { f.closeWrite(addrA); f.cut(); f.Forget(addrB) }, 1},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			f := started(t, Config{Sub: orders}, addrA)
			f.Connect(addrB)
			synctest.Wait()
			if tt.before != nil {
				tt.before(f)
			}
			f.Close()
			f.cancel()
			tt.after(f)
			f.Wait()
			errs := f.Unconfirmed()
			check.Want(t, "unconfirmed", len(errs), tt.want)
			for _, err := range errs {
				if _, ok := err.(*conn.Error); !ok {
					t.Errorf("error is %#v, want a *conn.Error", err)
				}
			}
		})
	}
}

// conn returns the connection to an address.
func (f *fixture) conn(addr string) *conn.Conn {
	f.t.Helper()
	for _, c := range f.Conns() {
		if c.Addr() == addr {
			return c
		}
	}
	f.t.Fatalf("no connection to %s", addr)
	return nil
}

// closeWrite ends a connection gracefully.
func (f *fixture) closeWrite(addr string) {
	f.t.Helper()
	f.conn(addr).CloseWrite()
	synctest.Wait()
}

// TestTrying of a set that is not lazy.
func TestTrying(t *testing.T) {
	for state, want := range map[string]struct{ conn, trying, any bool }{
		"not started":               {false, true, true},
		"dialling":                  {false, true, true},
		"waiting":                   {false, false, false},
		"connected":                 {true, false, true},
		"forgotten while connected": {true, false, true},
		"unnamed":                   {false, false, false},
		"gone":                      {false, false, false},
		"unknown":                   {false, false, false},
	} {
		check.Bubble(t, state, func(t *testing.T) {
			f := newFixture(t, Config{Sub: orders}, nil)
			states[state](f)
			c, trying := f.Trying(addrA)
			check.Want(t, "connection", c != nil, want.conn)
			check.Want(t, "trying", trying, want.trying)
			any, errs := f.AnyTrying()
			check.Want(t, "any trying", any, want.any)
			check.Want(t, "errors", len(errs), map[string]int{"waiting": 1, "unnamed": 1}[state])
		})
	}
}

// TestAnyTryingErrors: the last errors of all, if none is tried.
func TestAnyTryingErrors(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, nil)
		f.net.Refuse(errRefused)
		f.run()
		f.Connect(addrA)
		f.Connect(addrB)
		synctest.Wait()
		trying, errs := f.AnyTrying()
		check.Want(t, "trying", trying, false)
		check.Want(t, "errors", len(errs), 2)
		for _, err := range errs {
			check.WantErr(t, "error", err, errRefused)
		}
		release := f.hold()
		f.Redial(addrB)
		synctest.Wait()
		trying, errs = f.AnyTrying()
		check.Want(t, "trying", trying, true)
		check.Want(t, "errors", len(errs), 0)
		release()
	})
}
