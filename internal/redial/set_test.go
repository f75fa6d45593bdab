package redial

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/notify"
)

// states bring a new fixture, which is not started, to a state of addrA. The number of dials is the
// second result.
var states = map[string]func(f *fixture) (dials int){
	"not started": func(f *fixture) int {
		f.Connect(addrA)
		f.wantState("idle")
		return 0
	},
	"dialling": func(f *fixture) int {
		release := f.hold()
		f.t.Cleanup(func() {
			if f.gate.Load() != nil {
				release()
			}
		})
		f.run()
		f.Connect(addrA)
		f.wantState("dialling")
		return 0
	},
	"waiting": func(f *fixture) int {
		f.net.Refuse(errRefused)
		f.run()
		f.Connect(addrA)
		f.wantState("waiting")
		f.net.Refuse(nil)
		return 1
	},
	"connected": func(f *fixture) int {
		f.run()
		f.Connect(addrA)
		f.wantState("connected")
		return 1
	},
	"forgotten while connected": func(f *fixture) int {
		f.run()
		f.Connect(addrA)
		f.wantState("connected")
		f.Forget(addrA)
		f.wantState("connected")
		return 1
	},
	"unnamed": func(f *fixture) int {
		f.run()
		f.Connect(addrA)
		f.wantState("connected")
		f.Forget(addrA)
		f.cut()
		f.wantState("waiting")
		return 1
	},
	"gone": func(f *fixture) int {
		f.run()
		f.Connect(addrA)
		f.wantState("connected")
		f.cut()
		f.Forget(addrA)
		f.purge()
		f.wantState("gone")
		return 1
	},
	"unknown": func(f *fixture) int {
		f.run()
		return 0
	},
	"closed": func(f *fixture) int {
		f.run()
		f.Connect(addrA)
		synctest.Wait()
		f.stop()
		f.wantState("idle")
		return 1
	},
}

// TestStates calls a method in each state, and says what becomes of it at once, and of the dials.
func TestStates(t *testing.T) {
	connect, forget := (*Set).Connect, (*Set).Forget
	again := func(s *Set, addr string) { s.Forget(addr); s.Connect(addr) }
	purge := func(s *Set, _ string) { s.Purge(time.Now().Add(1)) }
	for _, tt := range []struct {
		state, name string
		call        func(s *Set, addr string)
		want        string
		dials       int // more of them, at once
	}{
		{"not started", "Connect", connect, "idle", 0},
		{"not started", "Redial", (*Set).Redial, "idle", 0},
		{"not started", "Forget", forget, "gone", 0},
		{"not started", "Forget, Connect", again, "idle", 0},
		{"not started", "Purge", purge, "idle", 0},
		{"dialling", "Connect", connect, "dialling", 0},
		{"dialling", "Redial", (*Set).Redial, "dialling", 0},
		{"dialling", "Forget", forget, "dialling", 0},
		{"dialling", "Forget, Connect", again, "dialling", 0},
		{"dialling", "Purge", purge, "dialling", 0},
		{"waiting", "Connect", connect, "waiting", 0},
		{"waiting", "Redial", (*Set).Redial, "connected", 1},
		{"waiting", "Forget", forget, "gone", 0},
		{"waiting", "Forget, Connect", again, "connected", 1},
		{"waiting", "Purge", purge, "waiting", 0},
		{"connected", "Connect", connect, "connected", 0},
		{"connected", "Redial", (*Set).Redial, "connected", 0},
		{"connected", "Forget", forget, "connected", 0},
		{"connected", "Forget, Connect", again, "connected", 0},
		{"connected", "Purge", purge, "connected", 0},
		{"forgotten while connected", "Connect", connect, "connected", 0},
		{"forgotten while connected", "Redial", (*Set).Redial, "connected", 0},
		{"forgotten while connected", "Forget", forget, "connected", 0},
		{"forgotten while connected", "Purge", purge, "connected", 0},
		{"unnamed", "Connect", connect, "connected", 1},
		{"unnamed", "Redial", (*Set).Redial, "connected", 1},
		{"unnamed", "Forget", forget, "waiting", 0},
		{"unnamed", "Forget, Connect", again, "connected", 1},
		{"unnamed", "Purge", purge, "gone", 0},
		{"gone", "Connect", connect, "connected", 1},
		{"gone", "Redial", (*Set).Redial, "gone", 0},
		{"gone", "Forget", forget, "gone", 0},
		{"gone", "Purge", purge, "gone", 0},
		{"unknown", "Connect", connect, "connected", 1},
		{"unknown", "Redial", (*Set).Redial, "gone", 0},
		{"unknown", "Forget", forget, "gone", 0},
		{"closed", "Connect", connect, "idle", 0},
		{"closed", "Redial", (*Set).Redial, "idle", 0},
		{"closed", "Forget", forget, "idle", 0},
		{"closed", "Forget, Connect", again, "idle", 0},
		{"closed", "Forget, Purge", func(s *Set, addr string) { forget(s, addr); purge(s, addr) }, "idle", 0},
	} {
		check.Bubble(t, tt.state+", "+tt.name, func(t *testing.T) {
			f := newFixture(t, Config{Sub: orders}, nil)
			dials := states[tt.state](f)
			tt.call(f.Set, addrA)
			f.wantState(tt.want)
			f.wantDials(dials + tt.dials)
			check.Want(t, "time", time.Since(f.start), 0)
		})
	}
}

// TestAfterConnect: what a lost connection means after a method was called while it was up. It is
// dialled again in any case. If the topic was deleted afterwards, an address that nobody names is not.
func TestAfterConnect(t *testing.T) {
	again := func(s *Set, addr string) { s.Forget(addr); s.Connect(addr) }
	early := func(s *Set, addr string) { s.Forget(addr); s.Purge(time.Now().Add(1)) }
	for name, tt := range map[string]struct {
		call   func(s *Set, addr string)
		purged string // the state when the topic is deleted after the connection has ended
	}{
		"Connect":         {(*Set).Connect, "waiting"},
		"Redial":          {(*Set).Redial, "waiting"},
		"Forget":          {(*Set).Forget, "gone"},
		"Forget, Connect": {again, "waiting"},
		"Forget, Purge":   {early, "gone"},
	} {
		for _, purge := range []bool{false, true} {
			check.Bubble(t, fmt.Sprint(name, ", purge ", purge), func(t *testing.T) {
				f := started(t, Config{Sub: orders}, addrA)
				tt.call(f.Set, addrA)
				f.cut()
				f.wantState("waiting")
				e := f.last()
				check.Want(t, "kind", e.kind, notify.Disconnect)
				check.Want(t, "has a retry", e.retry > 0, true)
				f.wantDials(1)
				state := "waiting"
				if purge {
					f.purge()
					state = tt.purged
				}
				f.wantState(state)
				time.Sleep(time.Minute)
				f.wantState(map[string]string{"waiting": "connected", "gone": "gone"}[state])
				f.wantDials(map[string]int{"waiting": 2, "gone": 1}[state])
			})
		}
	}
}

// TestForgetWhileDialling: the dial continues. If it fails, it is not retried unless the address was
// added again. If it succeeds, the address was connected, and is dialled again as any other that
// nobody names.
func TestForgetWhileDialling(t *testing.T) {
	for name, tt := range map[string]struct {
		again, fails bool
		want         string // when the dial has ended
		after        string // when the connection has ended, too
	}{
		"connects":              {false, false, "connected", "waiting"},
		"fails":                 {false, true, "gone", "gone"},
		"added again, connects": {true, false, "connected", "waiting"},
		"added again, fails":    {true, true, "waiting", "waiting"},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			f := newFixture(t, Config{Sub: orders}, nil)
			release := f.hold()
			f.run()
			f.Connect(addrA)
			f.wantState("dialling")
			f.Forget(addrA)
			if tt.again {
				f.Connect(addrA)
			}
			if tt.fails {
				f.net.Refuse(errRefused)
			}
			release()
			f.wantState(tt.want)
			if !tt.fails {
				f.cut()
			}
			f.wantState(tt.after)
			if tt.after == "waiting" && !tt.fails {
				time.Sleep(time.Minute)
				f.wantState("connected")
			}
		})
	}
}

// TestRedialWhileDialling: if the dial under way fails, another follows at once; if not, the
// request is done.
func TestRedialWhileDialling(t *testing.T) {
	for name, fails := range map[string]bool{"fails": true, "connects": false} {
		check.Bubble(t, name, func(t *testing.T) {
			f := newFixture(t, Config{Sub: orders}, nil)
			release := f.hold()
			f.run()
			f.Connect(addrA)
			synctest.Wait()
			f.Redial(addrA)
			if fails {
				f.net.Refuse(errRefused)
			}
			release()
			if fails {
				f.wantDials(2)
				f.wantState("waiting")
				return
			}
			f.cut()
			f.wantState("waiting") // the request is not kept for later
			f.wantDials(1)
		})
	}
}

// TestSeveralAddresses are dialled independently, and listed in the order of Connect.
func TestSeveralAddresses(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, nil)
		f.Connect(addrA)
		f.Connect(addrB)
		check.Want(t, "Len", f.Len(), 2)
		f.run()
		check.Want(t, "Conns", len(f.Conns()), 2)
		for i, addr := range []string{addrA, addrB} {
			check.Want(t, "address", f.Conns()[i].Addr(), addr)
			check.Want(t, "address in Stats", f.Stats()[i].Addr, addr)
		}
		f.Conns()[0].Abort(errRefused)
		synctest.Wait()
		check.Want(t, "Conns", len(f.Conns()), 1)
		check.Want(t, "other address", f.Conns()[0].Addr(), addrB)
		check.Want(t, "attached", f.attached.Load(), 2)
		check.Want(t, "detached", f.detached.Len(), 1)
		check.Want(t, "detached address", f.detached.All()[0].Addr(), addrA)
		time.Sleep(time.Second)
		check.Want(t, "Conns", len(f.Conns()), 2)
		f.wantEvents("connect connect disconnect connect")
	})
}

// TestChanged is closed at each change, and not without one.
func TestChanged(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, nil)
		f.run()
		for _, change := range []struct {
			name string
			do   func()
			want bool
		}{
			{"nothing", func() {}, false},
			{"dial fails", func() { f.net.Refuse(errRefused); f.Connect(addrA) }, true},
			{"still waiting", func() { f.Connect(addrA) }, false},
			{"connects", func() { f.net.Refuse(nil); f.Redial(addrA) }, true},
			{"already connected", func() { f.Connect(addrA); f.Redial(addrA) }, false},
			{"connection lost", f.cut, true},
			{"Close", func() { f.Close() }, true},
		} {
			changed := f.Changed()
			change.do()
			synctest.Wait()
			select {
			case <-changed:
				check.Want(t, change.name, true, change.want)
			default:
				check.Want(t, change.name, false, change.want)
			}
		}
	})
}

// TestClose returns the connections, which stay; nothing is dialled or attached after it.
func TestClose(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := started(t, Config{Sub: orders}, addrA, addrB)
		check.Want(t, "Closed", f.Closed(), false)
		conns := f.Close()
		check.Want(t, "Closed", f.Closed(), true)
		check.Want(t, "connections", len(conns), 2)
		f.cancel()
		time.Sleep(time.Minute)
		check.Want(t, "alive", conns[0].Alive() && conns[1].Alive(), true)
		check.Want(t, "Conns", len(f.Conns()), 2)
		f.Connect("c:4150")
		check.Want(t, "Len", f.Len(), 2)
		conns[0].CloseWrite()
		conns[1].Abort(nil)
		f.Wait()
		f.wantDials(2)
		check.Want(t, "connections", len(f.Close()), 0)
	})
}

// TestCloseInEachState: Wait returns, after the ctx of Start has ended at the latest.
func TestCloseInEachState(t *testing.T) {
	for name, enter := range states {
		check.Bubble(t, name, func(t *testing.T) {
			f := newFixture(t, Config{Sub: orders}, nil)
			enter(f)
			events := f.events.Len()
			f.stop()
			check.Want(t, "time", time.Since(f.start), 0)
			check.Want(t, "Conns", len(f.Conns()), 0)
			for _, e := range f.events.All()[events:] { // a dial that was given up is no event
				check.Want(t, "kind", e.kind, notify.Disconnect)
				check.Want(t, "retry", e.retry, 0)
			}
		})
	}
}

// TestCloseWhileDialling: a connection that comes too late is closed, without an event.
func TestCloseWhileDialling(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, nil)
		release := f.hold()
		f.run()
		f.Connect(addrA)
		synctest.Wait()
		check.Want(t, "connections", len(f.Close()), 0)
		release() // ctx has not ended: the handshake completes
		f.Wait()
		f.net.Wait()
		f.wantDials(1)
		f.wantEvents("")
		check.Want(t, "attached", f.attached.Load(), 0)
		check.Want(t, "detached", f.detached.Len(), 0)
		check.Want(t, "subscribed", len(f.peers.All()[0].Log) >= 2, true)
	})
}

// TestEndOfContext ends dialling and waiting, but not a connection.
func TestEndOfContext(t *testing.T) {
	for state, want := range map[string]string{"dialling": "idle", "waiting": "idle", "connected": "connected"} {
		check.Bubble(t, state, func(t *testing.T) {
			f := newFixture(t, Config{Sub: orders}, nil)
			states[state](f)
			events := f.events.Len()
			f.cancel()
			f.wantState(want)
			time.Sleep(time.Minute)
			f.wantState(want)
			check.Want(t, "events", f.events.Len(), events)
			if want == "connected" {
				f.cut()
				f.wantState("idle")
				f.wantEvents("connect disconnect")
			}
		})
	}
}

// TestContextValues: the contexts of connections have the values of the ctx of Start, and outlive it.
func TestContextValues(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		type key struct{}
		f := newFixture(t, Config{Sub: orders}, nil)
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
		f.cancel = cancel
		f.Connect(addrA)
		f.Start(ctx)
		synctest.Wait()
		cancel()
		synctest.Wait()
		ctx = f.Conns()[0].Context()
		check.Want(t, "value", ctx.Value(key{}), any("value"))
		check.WantErr(t, "context", ctx.Err(), nil)
	})
}

// TestNoCallbacks: a Config of which only Conn is set.
func TestNoCallbacks(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{}, nil)
		f.cfg.Post, f.cfg.Attached, f.cfg.Detached, f.cfg.Tried = nil, nil, nil, nil
		f.run()
		f.Connect(addrA)
		f.wantState("connected")
		check.WantErr(t, "Publish", f.publish(), nil)
		f.cut()
		f.wantState("connected") // it has published, so it is dialled again at once
		f.wantDials(2)
	})
}

// TestErrors: an error of a dial is a *conn.Error, whatever it was.
func TestErrors(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, nil)
		f.run()
		f.Connect("no port")
		e, ok := errors.AsType[*conn.Error](f.last().err)
		if !ok || e.Phase != conn.PhaseDial || e.Addr != "no port" {
			t.Errorf("error is %v", f.last().err)
		}
	})
}
