package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/observe"
)

// TestChoose: three nsqds in any state, one preferred, one bad.
func TestChoose(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare     func(n *nsqds)
		addrs       []string
		prefer, bad string
		want        []string // addresses that may be chosen; "wait" and "down" for none
	}{
		"any":                    {nil, []string{addrA, addrB}, "", "", []string{addrA, addrB}},
		"any but the bad":        {nil, []string{addrA, addrB, addrC}, "", addrA, []string{addrB, addrC}},
		"only the bad":           {nil, []string{addrA}, "", addrA, []string{"wait"}},
		"preferred":              {nil, []string{addrA, addrB}, addrB, "", []string{addrB}},
		"preferred is bad":       {nil, []string{addrA, addrB}, addrB, addrB, []string{addrA}},
		"preferred is bad alone": {nil, []string{addrA}, addrA, addrA, []string{"wait"}},
		"another is bad":         {nil, []string{addrA, addrB, addrC}, addrB, addrA, []string{addrB}},
		"preferred is unknown":   {nil, []string{addrA, addrB}, addrC, "", []string{addrA, addrB}},
		"preferred is unknown, another bad": {
			nil, []string{addrA, addrB}, addrC, addrB, []string{addrA},
		},
		"preferred is dialled": {
			func(n *nsqds) { n.t.Cleanup(n.hold(addrB)) }, []string{addrA, addrB}, addrB, "", []string{"wait"},
		},
		"preferred is down": {
			func(n *nsqds) { n.refuse[addrB] = errRefused }, []string{addrA, addrB}, addrB, "", []string{addrA},
		},
		"one is down": {
			func(n *nsqds) { n.refuse[addrB] = errRefused }, []string{addrA, addrB}, "", "", []string{addrA},
		},
		"one is dialled, the other down": {
			func(n *nsqds) { n.refuse[addrB] = errRefused; n.t.Cleanup(n.hold(addrA)) }, []string{addrA, addrB}, "", "", []string{"wait"},
		},
		"all are down": {
			func(n *nsqds) { n.refuse[addrA], n.refuse[addrB] = errRefused, errCause }, []string{addrA, addrB}, "", "", []string{"down"},
		},
		"all are down, preferred, too": {
			func(n *nsqds) { n.refuse[addrA], n.refuse[addrB] = errRefused, errCause }, []string{addrA, addrB}, addrB, "", []string{"down"},
		},
		"none is known": {nil, nil, "", "", []string{"down"}},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			if tt.prepare != nil {
				tt.prepare(n)
			}
			r := n.router(Config{}, tt.addrs...)
			var bad *conn.Conn
			if tt.bad != "" {
				bad = connTo(t, r, tt.bad)
			}
			got := make(map[string]int)
			for range 60 {
				c, changed, down := r.choose(tt.prefer, bad)
				switch {
				case c != nil:
					got[c.Addr()]++
					check.Want(t, "changed", changed, nil)
					check.WantErr(t, "down", down, nil)
				case down != nil:
					got["down"]++
					check.WantErr(t, "down", down, observe.ErrNoNSQD)
					for _, addr := range tt.addrs {
						check.WantErr(t, "reason", down, n.refuse[addr])
					}
				default:
					got["wait"]++
				}
				if c == nil {
					select {
					case <-changed:
						t.Error("changed is closed")
					default:
					}
				}
			}
			for _, want := range tt.want { // each in its turn; one gets the turns of the bad, too
				if n := got[want]; n != 60/len(tt.want) && (tt.bad == "" || n < 60/len(tt.addrs)) {
					t.Errorf("%s is chosen %d times", want, n)
				}
			}
			check.Want(t, "choices", len(got), len(tt.want))
		})
	}
}

// TestChooseWaits: changed is closed by what may make another choice possible.
func TestChooseWaits(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		release := n.hold(addrA)
		r := n.router(Config{}, addrA)
		for _, what := range []struct {
			name string
			do   func()
		}{
			{"connection", release},
			{"loss", func() { r.Conns()[0].Abort(errRefused) }},
			{"close", func() { r.Set.Close() }},
		} {
			changed := r.Changed()
			what.do()
			synctest.Wait()
			select {
			case <-changed:
			default:
				t.Errorf("no change after a %s", what.name)
			}
		}
		c, _, down := r.choose("", nil)
		check.Want(t, "connection", c, nil)
		check.Want(t, "down", down, ErrClosed)
		c, _, down = r.choose(addrA, nil)
		check.Want(t, "connection to the preferred", c, nil)
		check.Want(t, "down", down, ErrClosed)
	})
}

// TestChooseLazy: the preferred nsqd is dialled, or the first; none is dialled for a connection.
func TestChooseLazy(t *testing.T) {
	for prefer, want := range map[string]string{addrB: addrB, "": addrA, addrC: addrA} {
		check.Bubble(t, "prefer "+prefer, func(t *testing.T) {
			n := newNSQDs(t)
			r := n.router(Config{Lazy: true}, addrA, addrB)
			check.Want(t, "dials", n.net.Dials(), 0)
			c, changed, down := r.choose(prefer, nil)
			check.Want(t, "connection", c, nil)
			check.WantErr(t, "down", down, nil)
			<-changed
			c, _, _ = r.choose(prefer, nil)
			check.Want(t, "address", c.Addr(), want)
			check.Want(t, "dials", n.net.Dials(), 1)
		})
	}
}

func TestUsable(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		r := newNSQDs(t).router(Config{}, addrA, addrB)
		a, b := r.Conns()[0], r.Conns()[1]
		check.Want(t, "none", usable(nil, nil), false)
		check.Want(t, "none, one bad", usable(nil, a), false)
		check.Want(t, "good", usable(a, nil), true)
		check.Want(t, "another is bad", usable(a, b), true)
		check.Want(t, "bad", usable(a, a), false)
		a.Abort(nil)
		check.Want(t, "ended", usable(a, nil), false)
	})
}

// TestNextTurn: the counter of turns may wrap.
func TestNextTurn(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		r := newNSQDs(t).router(Config{}, addrA, addrB)
		r.turn.Store(1<<32 - 3)
		var got []string
		for range 6 {
			got = append(got, r.next(nil).Addr())
		}
		check.Want(t, "turns", fmt.Sprint(got), fmt.Sprint(slices.Repeat([]string{addrA, addrB}, 3)))
	})
}

// TestPointless: without a connection, waiting helps unless there is no time or all reasons last.
func TestPointless(t *testing.T) {
	down := func(why ...error) error { return errors.Join(append([]error{observe.ErrNoNSQD}, why...)...) }
	rejected := &conn.Error{Addr: addrA, Phase: conn.PhaseStream, Err: &conn.ServerError{Code: "E_BAD_TOPIC"}}
	for _, tt := range []struct {
		down          error
		wait          time.Duration
		want, lasting bool
	}{
		{nil, 0, false, false},
		{nil, time.Second, false, false},
		{ErrClosed, time.Second, true, true},
		{down(), 0, true, false},
		{down(), time.Second, false, false}, // an nsqd may be discovered
		{down(passing), 0, true, false},
		{down(passing), time.Second, false, false},
		{down(lasting), time.Second, true, true},
		{down(lasting, lasting), time.Second, true, true},
		{down(lasting, passing), time.Second, false, false},
		{down(passing, lasting), time.Second, false, false},
		{down(rejected), time.Second, false, false}, // a publish was refused, and others may not be
		{down(io.EOF), time.Second, false, false},
	} {
		r := &Router{cfg: Config{WaitTimeout: tt.wait}}
		name := fmt.Sprintf("%v, wait %v", tt.down, tt.wait)
		check.Want(t, name, r.pointless(tt.down), tt.want)
		if tt.down != nil {
			check.Want(t, name+": lasting", allPermanent(tt.down), tt.lasting)
		}
	}
}

// TestChooseOverdue: a connection that owes an answer for too long is passed over while another is
// not, preferred or not, and comes back when it answers. One that has not answered yet gets one
// publish.
func TestChooseOverdue(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		n.answer[addrA] = "hang"
		r := n.router(Config{}, addrA, addrB, addrC)
		send := func(out *handler.Outgoing) <-chan error {
			result := make(chan error, 1)
			go func() { result <- r.Transmit(context.Background(), out) }()
			synctest.Wait()
			return result
		}
		count := func(n int, prefer string) map[string]int {
			got := make(map[string]int)
			for range n {
				c, _, _ := r.choose(prefer, nil)
				got[c.Addr()]++
			}
			return got
		}
		for range 6 {
			send(message("x"))
		}
		check.Want(t, "untested", connTo(t, r, addrA).Unanswered(), 1)
		check.Want(t, "turns of the untested", count(60, "")[addrA], 0)
		check.Want(t, "turns of the untested, preferred", count(60, addrA)[addrA], 60)

		time.Sleep(time.Second)
		synctest.Wait()
		check.Want(t, "turns of the overdue", count(60, "")[addrA], 0)
		check.Want(t, "turns of the overdue, preferred", count(60, addrA)[addrA], 0)
		for _, addr := range []string{addrB, addrC} {
			n.set(func() { n.answer[addr] = "hang" })
			out := message("y")
			out.NSQD = addr
			send(out)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		check.Want(t, "nsqds that have turns when all are overdue", len(count(60, "")), 3)
		check.Want(t, "turns of a preferred when all are overdue", count(60, addrB)[addrB], 60)

		n.say(addrB)
		check.Want(t, "turns of the one that has answered", count(60, "")[addrB], 60)
		n.say(addrA)
		got := count(60, "")
		check.Want(t, "turns when two have answered", got[addrA]+got[addrB], 60)
		check.Want(t, "turns of the third", got[addrC], 0)
		n.say(addrC)
		check.Want(t, "nsqds that have turns", len(count(60, "")), 3)
	})
}
