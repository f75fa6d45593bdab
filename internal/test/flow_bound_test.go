package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// TestFlood (M14): a connection that brings far more messages than requested is closed; the others
// stay.
func TestFlood(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		ev := &events{}
		release := make(chan struct{})
		s := d.run(func(context.Context, string) error { <-release; return nil },
			nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(8), nsqx.WithHooks(ev.hooks()))
		l := d.line(nsqd1)
		const bound = 2*8 + 2
		l.send(1, 2)
		synctest.Wait()     // both are running
		l.flood(3, 2*bound) // half fills the queue, half is requeued
		synctest.Wait()
		want(t, "queued", s.Stats().Queued, bound)
		want(t, "connected", s.Stats().Connections[0].Connected, true)
		want(t, "last RDY", l.lastRDY(), "RDY 0")
		want(t, "requeued", len(l.commands("REQ")), bound)
		want(t, "the last of them", l.commands("REQ")[bound-1], "REQ "+strconv.FormatUint(2+2*bound, 16)+" 1000")
		l.flood(100, 1)
		synctest.Wait()
		stats := s.Stats()
		want(t, "connected", stats.Connections[0].Connected, false)
		want(t, "connected", stats.Connections[1].Connected, true)
		if fault, ok := errors.AsType[*conn.Error](stats.Connections[0].LastErr); !ok || fault.Phase != conn.PhaseStream || fault.Addr != nsqd1 {
			t.Errorf("last error is %v", stats.Connections[0].LastErr)
		}

		other := d.line(nsqd2) // works although messages of the lost connection fill the queue
		other.send(1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007)
		time.Sleep(time.Second)
		want(t, "connected", s.Stats().Connections[1].Connected, true)
		want(t, "connected again", s.Stats().Connections[0].Connected, true)
		close(release)
		time.Sleep(time.Second)
		want(t, "answered", len(other.commands("FIN", "REQ")), 8)
		want(t, "lost", s.Stats().Lost, 2+bound+1)
		s.wantStop(closeTime)
	})
}

// TestFloodOfAnother: a connection that respects its RDY is not closed because another one does
// not. Its messages are requeued with a delay of one second, since its RDY is open.
func TestFloodOfAnother(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		s := d.run(func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(8), nsqx.WithShutdownTimeout(0))
		synctest.Wait()
		d.line(nsqd1).send(100) // runs
		synctest.Wait()
		d.line(nsqd1).flood(1, 4*8+2) // fills the queue
		synctest.Wait()
		d.line(nsqd2).send(101, 102, 103)
		d.line(nsqd2).wantCommands("REQ", "REQ 65 1000, REQ 66 1000, REQ 67 1000")
		for _, c := range s.Stats().Connections {
			want(t, "connected to "+c.Addr, c.Connected, true)
		}
		d.line(nsqd1).flood(201, 4)
		synctest.Wait()
		c := s.Stats().Connections[0]
		want(t, "connected to the flooding nsqd", c.Connected, false)
		if e, ok := errors.AsType[*conn.Error](c.LastErr); !ok || e.Addr != nsqd1 {
			t.Errorf("last error is %v", c.LastErr)
		}
	})
}

// TestBound (row R1): nsqd sends far more than RDY. Beyond twice MaxInFlight the newest messages
// are requeued with a delay of one second; far beyond that the connection ends.
func TestBound(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithoutChecks(nsqxtest.CheckAnswers))
		hang, runs, release := hangs()
		defer release()
		var ends synced[observe.ConnEvent]
		c, _ := consume(t, []*nsqxtest.Server{s}, hang, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(10), nsqx.WithHooks(observe.Hooks{OnDisconnect: ends.add}))
		nsqd := s.Conns()[0]
		flood := func(first, n int) {
			var frames []byte
			for i := range n {
				frames = append(frames, fake.Message(time.Now().UnixNano(), fake.ID(uint64(first+i)), 1, []byte("x"))...)
			}
			nsqd.WriteRaw(frames)
			synctest.Wait()
		}
		flood(1, 2)
		want(t, "runs", runs.Load(), 2)
		const bound = 2*10 + 1
		flood(3, bound+9)
		want(t, "queued", c.Stats().Queued, bound)
		var requeued []string
		closed := false
		for _, cmd := range s.Commands("RDY", "REQ") {
			switch {
			case cmd.Name == "RDY":
				closed = closed || cmd.String() == "RDY 0"
			case !closed:
				t.Errorf("%s while RDY was not 0", cmd)
				fallthrough
			default:
				requeued = append(requeued, cmd.String())
			}
		}
		var newest []string
		for i := range 9 {
			newest = append(newest, fmt.Sprintf("REQ %s 1000", fake.ID(uint64(3+bound+i))))
		}
		want(t, "requeued", strings.Join(requeued, ", "), strings.Join(newest, ", "))
		want(t, "connections", len(s.Conns()), 1)
		want(t, "ends", len(ends.all()), 0)

		flood(100, bound-9)
		want(t, "queued", c.Stats().Queued, bound)
		want(t, "ends at the bound", len(ends.all()), 0)
		flood(200, 1)
		synctest.Wait()
		want(t, "queued", c.Stats().Queued <= bound, true)
		events := ends.all()
		if len(events) != 1 || !strings.Contains(events[0].Err.Error(), "far more messages than RDY allows") {
			t.Fatalf("ends %v, want one that says why", events)
		}
		time.Sleep(time.Second)
		want(t, "dials", s.Dials(), 2)
		want(t, "subscribed again", billing(s).Subscribers, 1)
		want(t, "runs", runs.Load(), 2)
	})
}

// TestBoundOfBytes: bodies larger than those before are requeued beyond twice WithMaxInFlightBytes,
// after RDY 0. This is not nsqd's fault, so the connection stays.
func TestBoundOfBytes(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(50, time.Millisecond))
		hang, runs, release := hangs()
		c, _ := consume(t, []*nsqxtest.Server{s}, hang, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(50),
			nsqx.WithFixedRDY(), nsqx.WithMaxInFlightBytes(1<<20))
		large := bytes.Repeat([]byte("x"), 100_000)
		var bodies [][]byte
		for range 40 {
			bodies = append(bodies, large)
		}
		ids := s.Publish("orders", bodies...)
		time.Sleep(500 * time.Millisecond) // until nsqd has flushed its buffer
		const waiting = 20                 // 2 MiB
		want(t, "runs", runs.Load(), 2)
		want(t, "queued", c.Stats().Queued, waiting)
		closed, requeued := false, 0
		for _, cmd := range s.Commands("RDY", "REQ") {
			switch {
			case cmd.Name == "RDY":
				closed = cmd.String() == "RDY 0"
				continue
			case !closed && requeued == 0:
				t.Errorf("%s while RDY was not 0", cmd)
			case !strings.HasSuffix(cmd.String(), " 1000"):
				t.Errorf("%s, want a second", cmd)
			}
			requeued++
		}
		want(t, "requeued", requeued, len(ids)-2-waiting)
		wantAttempts(t, s, ids[:2+waiting], 1)
		want(t, "max in flight", c.Stats().MaxInFlight, 10)
		release()
		s.Await("orders", "billing", finished(40))
		want(t, "dials", s.Dials(), 1)
		wantAttempts(t, s, ids, 3)
	})
}

// TestBoundForgets: earlier floods do not count.
func TestBoundForgets(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithoutChecks(nsqxtest.CheckAnswers))
		drop := func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.Drop() }
		s.On("FIN", drop) // the server does not know what is sent here
		s.On("REQ", drop)
		c, _ := consume(t, []*nsqxtest.Server{s}, sleeps(time.Millisecond, nil), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(10))
		for round := range 20 {
			var frames []byte
			for i := range 35 {
				frames = append(frames, fake.Message(time.Now().UnixNano(), fake.ID(uint64(1+round*100+i)), 1, []byte("x"))...)
			}
			s.Conns()[0].WriteRaw(frames)
			time.Sleep(time.Second)
			want(t, "queued", c.Stats().Queued, 0)
		}
		want(t, "dials", s.Dials(), 1)
		st := c.Stats()
		if st.Requeued < 20*10 || st.Finished+st.Requeued != 20*35 {
			t.Errorf("%d finished and %d requeued of %d, want 200 requeued at least", st.Finished, st.Requeued, 20*35)
		}
	})
}
