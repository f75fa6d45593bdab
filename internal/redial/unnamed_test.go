package redial_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/redial"
)

// fleet is a Set, and the nsqds that it can reach.
type fleet struct {
	*redial.Set
	t    *testing.T
	stop context.CancelFunc
	net  *fake.Network

	mu      sync.Mutex
	down    map[string]bool
	peers   map[string]net.Conn
	dials   map[string][]time.Time
	failed  map[notify.Kind]int
	removed []string
}

// newFleet returns a fleet that ends with the test. Nothing listens at first.
func newFleet(t *testing.T, most int) *fleet {
	f := &fleet{t: t, down: map[string]bool{}, peers: map[string]net.Conn{}, dials: map[string][]time.Time{}, failed: map[notify.Kind]int{}}
	f.net = fake.NewNetwork(t, func(p *fake.Peer) {
		p.Identify(nil)
		for {
			p.Heartbeat()
			if _, err := p.Next(); err != nil { // else its NOP
				return
			}
			time.Sleep(20 * time.Second)
		}
	})
	f.Set = redial.New(redial.Config{
		Conn: conn.Config{DialContext: f.dial}, Max: most,
		Post: func(kind notify.Kind, _ string, _ error, _ time.Duration) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.failed[kind]++
		},
		Removed: func(addr string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.removed = append(f.removed, addr)
		},
	})
	var ctx context.Context
	ctx, f.stop = context.WithCancel(t.Context())
	f.Start(ctx)
	return f
}

func (f *fleet) end() {
	f.stop()
	for _, c := range f.Close() {
		c.Abort(nil)
	}
	f.Wait()
}

func (f *fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials[addr] = append(f.dials[addr], time.Now())
	if f.down[addr] {
		return nil, syscall.ECONNREFUSED
	}
	nc, err := f.net.DialContext(ctx, network, addr)
	f.peers[addr] = nc
	return nc, err
}

// connect connects to nsqds, one each second.
func (f *fleet) connect(addrs ...string) {
	for _, addr := range addrs {
		f.Connect(addr)
		time.Sleep(time.Second)
	}
	synctest.Wait()
}

// lose takes nsqds away, one each second.
func (f *fleet) lose(addrs ...string) {
	for _, addr := range addrs {
		f.mu.Lock()
		f.down[addr] = true
		f.peers[addr].Close()
		f.mu.Unlock()
		time.Sleep(time.Second)
	}
}

// want checks which addresses there are; those without a connection have a !.
func (f *fleet) want(what, want string) {
	f.t.Helper()
	synctest.Wait()
	var all []string
	for _, s := range f.Stats() {
		if !s.Connected {
			s.Addr = "!" + s.Addr
		}
		all = append(all, s.Addr)
	}
	slices.Sort(all)
	if got := strings.Join(all, " "); got != want {
		f.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// failures returns how often dials have failed, by kind.
func (f *fleet) failures(kind notify.Kind) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed[kind]
}

// setUp lets an nsqd come back.
func (f *fleet) setUp(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[addr] = false
}

// wantRemoved checks what was removed, in order.
func (f *fleet) wantRemoved(want ...string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.removed, want) {
		f.t.Errorf("removed %q, want %q", f.removed, want)
	}
}

// gaps returns the shortest and the longest pause between dials of an address from now on.
func (f *fleet) gaps(addr string, during time.Duration) (least, most time.Duration) {
	f.mu.Lock()
	f.dials[addr] = nil
	f.mu.Unlock()
	time.Sleep(during)
	f.mu.Lock()
	defer f.mu.Unlock()
	dials := f.dials[addr]
	least = during
	for i := range max(len(dials)-1, 0) {
		gap := dials[i+1].Sub(dials[i])
		least, most = min(least, gap), max(most, gap)
	}
	return least, most
}

func (f *fleet) wantGaps(what, addr string, during, least, most time.Duration) {
	f.t.Helper()
	if low, high := f.gaps(addr, during); low < least || high > most || high < least {
		f.t.Errorf("%s: pauses from %v to %v, want %v to %v", what, low, high, least, most)
	}
}

// TestUnnamedAlone: an address that was connected and that nobody names is dialled each 10 s at most
// at first, then each minute at most, for a week.
func TestUnnamedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		defer f.end()
		f.connect("a:1")
		f.lose("a:1")
		time.Sleep(time.Minute)
		f.Forget("a:1")
		time.Sleep(10 * time.Second)
		f.wantGaps("at first", "a:1", 9*time.Minute, 7500*time.Millisecond, 10*time.Second)
		time.Sleep(20 * time.Minute)
		f.wantGaps("after half an hour", "a:1", 5*time.Minute, 20*time.Second, 35*time.Second)
		time.Sleep(time.Hour)
		f.wantGaps("later", "a:1", time.Hour, 45*time.Second, time.Minute)
		time.Sleep(6*24*time.Hour + 20*time.Hour)
		f.want("after nearly a week", "!a:1")
		if quiet, loud := f.failures(notify.UnnamedDialError), f.failures(notify.DialError); quiet > 0 || loud < 7*24*60 {
			t.Errorf("%d quiet failures, %d others", quiet, loud)
		}
		time.Sleep(3 * time.Hour)
		f.want("after a week", "")
		f.wantGaps("then", "a:1", time.Hour, 0, 0)
	})
}

// TestUnnamedBesideOthers: while others are connected it is dialled each minute, quietly, for a day.
func TestUnnamedBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		defer f.end()
		f.connect("a:1", "b:1")
		f.lose("a:1")
		f.Forget("a:1")
		time.Sleep(20 * time.Second)
		f.wantGaps("pauses", "a:1", time.Hour, 45*time.Second, time.Minute)
		if quiet, loud := f.failures(notify.UnnamedDialError), f.failures(notify.DialError); quiet < 60 || loud > 8 {
			t.Errorf("%d quiet failures, %d others", quiet, loud)
		}
		time.Sleep(22 * time.Hour)
		f.want("after less than a day", "!a:1 b:1")
		time.Sleep(2 * time.Hour)
		f.want("after a day", "b:1")
		f.wantRemoved("a:1")
	})
}

// TestUnnamedReconnects: it is back, unnamed. The day begins when its connection ends.
func TestUnnamedReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		defer f.end()
		f.connect("a:1", "b:1")
		f.lose("a:1")
		f.Forget("a:1")
		f.setUp("a:1")
		time.Sleep(time.Minute)
		f.want("back", "a:1 b:1")
		time.Sleep(48 * time.Hour)
		f.want("two days later", "a:1 b:1")
		f.lose("a:1")
		time.Sleep(23 * time.Hour)
		f.want("lost again", "!a:1 b:1")
		time.Sleep(2 * time.Hour)
		f.want("a day later", "b:1")
	})
}

// TestForgetNeverConnected: an address that was never connected is removed.
func TestForgetNeverConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		defer f.end()
		f.down["a:1"] = true
		f.connect("a:1")
		if f.Forget("a:1"); !f.Tried() {
			t.Error("not tried")
		}
		f.want("forgotten", "")
		f.Forget("b:1")
	})
}

// TestNamedAgain: an address that is named again is dialled at once.
func TestNamedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		defer f.end()
		f.connect("a:1", "b:1")
		f.lose("a:1")
		f.Forget("a:1")
		time.Sleep(time.Hour)
		f.setUp("a:1")
		f.Connect("a:1")
		f.want("at once", "a:1 b:1")
		f.lose("a:1")
		time.Sleep(time.Minute)
		f.wantGaps("named", "a:1", 10*time.Minute, 3*time.Second, 10*time.Second)
	})
}

// TestMax: those that nobody names make room, the longest unnamed first, unless they are connected.
func TestMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4)
		defer f.end()
		f.connect("a:1", "b:1", "c:1", "d:1")
		f.lose("b:1", "a:1")
		for _, addr := range []string{"c:1", "b:1", "a:1"} {
			f.Forget(addr)
			time.Sleep(time.Second)
		}
		f.want("within the bound", "!a:1 !b:1 c:1 d:1")
		f.connect("e:1")
		f.want("one more", "!a:1 c:1 d:1 e:1")
		f.connect("f:1")
		f.want("two more", "c:1 d:1 e:1 f:1")
		f.connect("g:1")
		f.want("with a connection that works", "c:1 d:1 e:1 f:1 g:1")
		f.lose("c:1")
		f.want("when that has ended", "d:1 e:1 f:1 g:1")
		f.wantRemoved("b:1", "a:1", "c:1")
	})
}

// TestPurge: addresses that nobody names and that were not connected since are removed.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		defer f.end()
		f.connect("a:1", "b:1", "c:1", "d:1")
		f.lose("a:1", "b:1")
		since := time.Now()
		time.Sleep(time.Second)
		f.lose("c:1")
		for _, addr := range []string{"a:1", "c:1", "d:1"} {
			f.Forget(addr)
		}
		f.Purge(since)
		f.want("named, lost later, or connected", "!b:1 !c:1 d:1")
		f.Purge(time.Now())
		f.want("later", "!b:1 d:1")
	})
}

// TestKnown: an address that nobody names counts as long as no other is connected.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		defer f.end()
		known := func(what string, wantConnected, wantKnown int) {
			t.Helper()
			synctest.Wait()
			if connected, n := f.Known(); connected != wantConnected || n != wantKnown {
				t.Errorf("%s: %d of %d, want %d of %d", what, connected, n, wantConnected, wantKnown)
			}
		}
		f.connect("a:1", "b:1")
		known("all are connected", 2, 2)
		f.lose("b:1")
		known("one is down", 1, 2)
		f.Forget("b:1")
		known("nobody names it", 1, 1)
		f.lose("a:1")
		known("none is connected", 0, 2)
		if n := f.Confirmed("nobody:1"); n != 0 {
			t.Errorf("an unknown address has confirmed %d messages", n)
		}
	})
}
