package conn_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/pipe"
)

// openWindow is openStream with a subscription whose RDY follows what the connection can use.
func openWindow(t *testing.T, share int) *stream {
	t.Helper()
	client, server := pipe.New()
	s := &stream{t: t, tap: &streamTap{Conn: client}, sink: &streamSink{}, ended: make(chan struct{}), p: fake.NewPeer(t, server)}
	shaken := make(chan struct{})
	go func() {
		defer close(shaken)
		s.p.Subscribe(nil)
	}()
	cfg := conn.Config{DialContext: func(context.Context, string, string) (net.Conn, error) { return s.tap, nil }}
	c, err := conn.Dial(t.Context(), address, cfg, &conn.Subscription{Topic: "orders", Channel: "billing"})
	<-shaken
	if err != nil {
		t.Fatal(err)
	}
	s.Conn, s.start = c, time.Now()
	s.tap.forget()
	t.Cleanup(s.stop)
	go s.serve()
	_ = s.heard() // so that writes never wait; the tap has them
	s.SetQuota(share)
	synctest.Wait()
	return s
}

// rdy is the last RDY written, or was if there was none since.
func (s *stream) rdy(was int) int {
	synctest.Wait()
	for _, line := range strings.Split(strings.Join(s.tap.written(), ""), "\n") {
		if n, ok := strings.CutPrefix(line, "RDY "); ok {
			was, _ = strconv.Atoi(n)
		}
	}
	return was
}

func (s *stream) wantRDY(was, want int) int {
	s.t.Helper()
	got := s.rdy(was)
	if got != want {
		s.t.Errorf("RDY is %d, want %d", got, want)
	}
	if st := s.Stats(); st.RDY != got {
		s.t.Errorf("Stats say that RDY is %d, it is %d", st.RDY, got)
	}
	return got
}

// TestQuietWindow asks for one message beyond those in flight, and lowers RDY in front of the FIN that makes room.
func TestQuietWindow(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 3)
		s.wantWritten("RDY 1\n")
		var msgs []*handler.Delivery
		for n := range uint64(3) {
			time.Sleep(time.Second)
			msgs = append(msgs, s.message(n+1))
			if n < 2 {
				s.wantWritten(fmt.Sprintf("RDY %d\n", n+2))
			}
		}
		s.wantWritten() // 3 in flight: the share
		s.Finish(msgs[0])
		s.wantWritten(fin(1) + "\n")
		s.Finish(msgs[1])
		s.wantWritten("RDY 2\n" + fin(2) + "\n")
		s.Requeue(msgs[2], 0)
		s.wantWritten("RDY 1\n" + req(3, 0) + "\n")
		time.Sleep(time.Second)
		s.wantWritten()
	})
}

// backlog plays an nsqd that has many messages: it sends as RDY allows, and they are finished at once.
func (s *stream) backlog(first *uint64, rounds int) (rdy int) {
	s.t.Helper()
	rdy = s.Stats().RDY
	for range rounds {
		msgs := s.deliver(*first, rdy)
		*first += uint64(rdy)
		for _, m := range msgs {
			s.Finish(m)
		}
		rdy = s.rdy(rdy)
	}
	return rdy
}

// TestWindowOpens up to the share when nsqd sends at once, and is closed by a poke when it is silent.
func TestWindowOpens(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 100)
		first := uint64(1)
		rdy := s.rdy(0)
		if rdy != 1 {
			t.Errorf("the first RDY is %d, want 1", rdy)
		}
		if rdy = s.backlog(&first, 30); rdy != 100 {
			t.Errorf("RDY is %d in a backlog, want the share", rdy)
		}
		time.Sleep(time.Millisecond - 1)
		s.wantRDY(rdy, 100)
		time.Sleep(time.Nanosecond)
		s.wantRDY(rdy, 1)
		time.Sleep(time.Hour - time.Second)
	})
}

// TestNoPokeWhileBytesArrive: they could be the backlog.
func TestNoPokeWhileBytesArrive(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 100)
		first := uint64(1)
		s.backlog(&first, 30)
		s.wantRDY(100, 100)
		frame := fake.Message(0, fake.ID(first), 1, make([]byte, 4000))
		for i := range frame {
			s.p.Raw(frame[i : i+1])
			time.Sleep(900 * time.Microsecond)
		}
		if got := len(s.sink.messages()); got != int(first) {
			t.Fatalf("%d messages, want %d", got, first)
		}
		s.wantRDY(100, 100)
		time.Sleep(100 * time.Microsecond)
		s.wantRDY(100, 2) // the last byte was 1 ms ago
	})
}

// TestPokeKeepsWhatIsInFlight: RDY goes down to one more than that.
func TestPokeKeepsWhatIsInFlight(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 100)
		first := uint64(1)
		s.backlog(&first, 30)
		s.rdy(0)
		s.deliver(first, 30)
		s.wantRDY(100, 100)
		time.Sleep(time.Millisecond)
		s.wantRDY(100, 31)
	})
}

// TestWindowIsRemembered: after a poke, a backlog that is still there has the old window soon.
func TestWindowIsRemembered(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 1000)
		first := uint64(1)
		s.backlog(&first, 30)
		s.wantRDY(1000, 1000)
		time.Sleep(5 * time.Millisecond)
		s.wantRDY(1000, 1)
		if rdy := s.backlog(&first, 4); rdy < 200 { // a new window would be 4
			t.Errorf("RDY is %d after 4 quick rounds, want about as much as before the poke", rdy)
		}
	})
}

// TestYield is reported once, when nsqd keeps to the lower share: RDY was written, and no more are in flight.
func TestYield(t *testing.T) {
	bubbles(t, "fixed RDY", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.SetQuota(10)
		s.wantWritten("RDY 10\n")
		msgs := s.deliver(1, 10)
		yielded := func(want int32) {
			t.Helper()
			synctest.Wait()
			if got := s.sink.yielded.Load(); got != want {
				t.Errorf("%d yields, want %d", got, want)
			}
		}
		s.SetQuota(12)
		s.wantWritten("RDY 12\n")
		s.SetQuota(12)
		yielded(0)
		s.SetQuota(4)
		s.wantWritten("RDY 4\n")
		yielded(0)
		for _, m := range msgs[:5] {
			s.Finish(m)
		}
		yielded(0)
		s.SetTimedOut(1) // nsqd counts one of the 5 no more
		yielded(1)
		s.SetTimedOut(0)
		s.Finish(msgs[5])
		s.Finish(msgs[6])
		yielded(1)

		s.SetQuota(3)
		s.SetQuota(2)
		yielded(1)
		s.SetQuota(3) // within which it is: 3 are in flight
		yielded(2)
		s.SetQuota(0)
		s.Finish(msgs[7])
		s.Forget(msgs[8])
		yielded(2)
		s.Requeue(msgs[9], 0)
		yielded(3)
		s.SetQuota(5)
		yielded(3)
	})
	bubbles(t, "window", func(t *testing.T) {
		s := openWindow(t, 10)
		s.SetQuota(5) // RDY is 1
		synctest.Wait()
		if got := s.sink.yielded.Load(); got != 1 {
			t.Errorf("%d yields of a share that was not used, want 1", got)
		}
		s.wantWritten("RDY 1\n")
	})
}

// TestYieldIsWritten before it is reported.
func TestYieldIsWritten(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.SetQuota(10)
		synctest.Wait()
		open := s.tap.holdWrites()
		s.SetQuota(3)
		synctest.Wait()
		if got := s.sink.yielded.Load(); got != 0 {
			t.Errorf("%d yields while the write hangs, want none", got)
		}
		open()
		synctest.Wait()
		if got := s.sink.yielded.Load(); got != 1 {
			t.Errorf("%d yields, want 1", got)
		}
		s.wantWritten("RDY 10\n", "RDY 3\n")
	})
}

// TestOverdue messages are none that nsqd counts.
func TestOverdue(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 10)
		for n := range uint64(3) {
			time.Sleep(time.Second)
			s.message(n + 1)
		}
		s.wantRDY(0, 4)
		s.SetTimedOut(2)
		s.wantRDY(4, 2)
		l := s.Load(true)
		if l.InFlight != 3 || l.Quota != 10 {
			t.Errorf("load %+v, want 3 held and a share of 10", l)
		}
		s.SetTimedOut(0)
		s.wantRDY(2, 4)
	})
}

// TestLoad: its periods begin with each call.
func TestLoad(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.SetQuota(5)
		synctest.Wait()
		check := func(inFlight, peak int, starved bool, received uint64) {
			t.Helper()
			synctest.Wait()
			if l := s.Load(true); l.InFlight != inFlight || l.Peak != peak || l.Starved != starved || l.Received != received || l.Quota != 5 || l.Held != 5 {
				t.Errorf("load %+v, want %d in flight, peak %d, starved %v, received %d", l, inFlight, peak, starved, received)
			}
		}
		check(0, 0, false, 0)
		msgs := s.deliver(1, 4)
		s.Finish(msgs[0])
		s.Finish(msgs[1])
		check(2, 4, false, 4)
		check(2, 2, false, 4)
		s.deliver(5, 3)
		s.Finish(msgs[2])
		check(4, 5, true, 7)
		check(4, 4, false, 7)
		if n := s.Received(); n != 7 {
			t.Errorf("%d received, want 7", n)
		}
	})
}

// TestHeld: for a lower share that was not written yet, the RDY in force counts.
func TestHeld(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.SetQuota(10)
		synctest.Wait()
		msgs := s.deliver(1, 6)
		open := s.tap.holdWrites()
		s.Finish(msgs[0]) // the write loop is in a write
		synctest.Wait()
		s.SetQuota(2)
		if l := s.Load(true); l.Held != 10 || l.Quota != 2 {
			t.Errorf("load %+v, want that 10 are held", l)
		}
		open()
		synctest.Wait()
		if l := s.Load(true); l.Held != 5 {
			t.Errorf("load %+v, want that the 5 in flight are held", l)
		}
	})
}

// TestShareIsBounded by nsqd's max-rdy-count, and nothing is below 0.
func TestShareIsBounded(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{identify: map[string]any{"max_rdy_count": 7}})
		if s.MaxRDY() != 7 {
			t.Errorf("max-rdy-count is %d, want 7", s.MaxRDY())
		}
		s.SetQuota(100)
		s.wantWritten("RDY 7\n")
		s.SetQuota(-5)
		s.wantWritten("RDY 0\n")
	})
}

// TestNoRDYAfterCLSWithWindow, whatever is set.
func TestNoRDYAfterCLSWithWindow(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 10)
		s.wantWritten("RDY 1\n")
		m := s.message(1)
		s.wantWritten("RDY 2\n")
		s.StopDelivery()
		s.wantWritten("CLS\n")
		s.SetQuota(100)
		s.SetQuota(0)
		s.SetTimedOut(1)
		s.Finish(m)
		s.wantWritten(fin(1) + "\n")
		time.Sleep(time.Second)
		s.wantWritten()
	})
}
