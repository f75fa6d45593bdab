package conn_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of read.go.

func TestMessageFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{identify: map[string]any{"msg_timeout": 10_000, "max_msg_timeout": 50_000}})
		time.Sleep(3 * time.Second)
		s.p.MessageAt(1_700_000_000_123_456_789, "0f9c3A7e5b1d2846", 7, []byte("hello"))
		s.p.Message(fake.ID(2), 1, nil)
		synctest.Wait()
		all := s.sink.messages()
		if len(all) != 2 {
			t.Fatalf("%d messages delivered, want 2", len(all))
		}
		m := all[0]
		if m.ID.String() != "0f9c3A7e5b1d2846" || m.Attempts != 7 || string(m.Body) != "hello" || m.Timestamp().UnixNano() != 1_700_000_000_123_456_789 {
			t.Errorf("delivered %v, attempts %d, body %q, timestamp %v", m.ID, m.Attempts, m.Body, m.Timestamp())
		}
		if m.Topic() != "orders" || m.Channel() != "billing" || m.NSQD() != address || m.Source() != handler.Source(s.Conn) {
			t.Errorf("delivered from %s, topic %s, channel %s", m.NSQD(), m.Topic(), m.Channel())
		}
		if got := m.Received().Sub(s.start); got != 3*time.Second {
			t.Errorf("received after %v, want 3s", got)
		}
		if by, ok := m.Message().Deadline(); !ok || by.Sub(s.start) != 12750*time.Millisecond {
			t.Errorf("to be answered after %v, want the timeout less 0.25 s", by.Sub(s.start))
		}
		if latest, ok := m.Context().Deadline(); !ok || latest.Sub(s.start) != 53*time.Second {
			t.Errorf("the context ends after %v at the latest, want 53s", latest.Sub(s.start))
		}
		if cap(m.Body) != len(m.Body) {
			t.Error("an append to the body would write into the next frame")
		}
		if m := all[1]; m.Body == nil || len(m.Body) != 0 {
			t.Errorf("an empty body is %#v", m.Body)
		}
		m.Release()
		if m.Body != nil {
			t.Error("the body is there after Release")
		}
		if st := s.Stats(); st.Addr != address || !st.Since.Equal(s.start) || st.MaxRDY != 2500 || st.Received != 2 || st.InFlight != 2 {
			t.Errorf("stats are %+v", st)
		}
	})
}

// TestMargin checks that the time in nsqd's buffer shortens the time to answer.
func TestMargin(t *testing.T) {
	for name, c := range map[string]struct {
		identify map[string]any
		want     time.Duration
	}{
		"nsqd's defaults":     {nil, 59750 * time.Millisecond},
		"no buffer":           {map[string]any{"output_buffer_timeout": -1}, 59750 * time.Millisecond},
		"a slow buffer":       {map[string]any{"output_buffer_timeout": 3000}, 57 * time.Second},
		"as slow as it gets":  {map[string]any{"output_buffer_timeout": 30_000}, 45 * time.Second},
		"a short timeout":     {map[string]any{"msg_timeout": 100}, 75 * time.Millisecond},
		"the shorter maximum": {map[string]any{"msg_timeout": 60_000, "max_msg_timeout": 10_000}, 9750 * time.Millisecond},
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{identify: c.identify})
			if by, ok := s.message(1).Message().Deadline(); !ok || by.Sub(s.start) != c.want {
				t.Errorf("to be answered after %v, want %v", by.Sub(s.start), c.want)
			}
		})
	}
}

// TestContextOfMessages checks that message contexts inherit the values of Dial's context, but not
// its cancellation.
func TestContextOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		n := fake.NewNetwork(t, func(p *fake.Peer) {
			p.Subscribe(nil)
			p.Message(fake.ID(1), 1, []byte("x"))
			_, _ = p.Next()
		})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		c, err := conn.Dial(ctx, address, conn.Config{DialContext: n.DialContext}, orders)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		served, sink := make(chan error), new(streamSink)
		go func() { served <- c.Serve(sink) }()
		synctest.Wait()
		m := sink.messages()[0]
		if m.Context().Value(key{}) != "value" {
			t.Error("the value is not there")
		}
		wantCause(t, m.Context(), nil)
		c.Abort(nil)
		<-served
		wantCause(t, m.Context(), handler.ErrConnLost)
	})
}

// TestBatches checks that messages of one read are delivered together, at most 64 at a time, except
// for those that fit into memory allocated before.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		next := uint64(0)
		raw := func(n int) (b []byte) {
			for range n {
				next++
				b = append(b, fake.Message(0, fake.ID(next), 1, []byte("x"))...)
			}
			return b
		}
		for _, c := range []struct{ messages, most int }{{20, 1}, {1, 1}, {11, 2}, {32, 2}, {20, 2}, {20, 2}, {100, 4}, {1, 1}, {600, 14}} {
			before := len(s.sink.batches)
			s.p.Raw(raw(c.messages))
			synctest.Wait()
			got, sum := s.sink.batches[before:], 0
			for _, n := range got {
				sum += n
				if n > 64 {
					t.Errorf("a batch of %d", n)
				}
			}
			if sum != c.messages || len(got) > c.most {
				t.Errorf("%d messages were delivered as %v, want at most %d batches", c.messages, got, c.most)
			}
		}
		for i, m := range s.sink.messages() {
			if m.ID.String() != fake.ID(uint64(i+1)) {
				t.Fatalf("message %d is %v", i, m.ID)
			}
		}
	})
}

// TestOrderOfControl checks that messages before an error or CLOSE_WAIT are delivered before it is
// handled.
func TestOrderOfControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *stream
		var states []string
		s = openStream(t, streamOptions{deliver: func(msgs []handler.Delivery) {
			stopped := false
			select {
			case <-s.DeliveryStopped():
				stopped = true
			default:
			}
			for i := range msgs {
				states = append(states, fmt.Sprintf("%s %t %d", msgs[i].ID.String()[15:], stopped, len(s.sink.refused())))
			}
		}})
		s.StopDelivery()
		message := func(n uint64) []byte { return fake.Message(0, fake.ID(n), 1, []byte("x")) }
		s.p.Raw(bytes.Join([][]byte{
			message(1), fake.Frame(fake.FrameError, []byte("E_FIN_FAILED")), message(2),
			fake.Frame(fake.FrameResponse, []byte("CLOSE_WAIT")), message(3),
		}, nil))
		synctest.Wait()
		if got := fmt.Sprint(states); got != "[1 false 0 2 false 1 3 true 1]" {
			t.Errorf("the order was %s", got)
		}
	})
}

// TestSegmentation checks that the segmentation of the input does not matter.
func TestSegmentation(t *testing.T) {
	sizes := []int{0, 1, 25, 26, 27, 1000, 3, 4096, 0, 0, 20_000, 5}
	for _, chunk := range []int{0, 1, 2, 3, 7, 8, 34, 35, 1000, 4095, 4096, 4097} {
		bubbles(t, fmt.Sprint("chunk of ", chunk), func(t *testing.T) {
			s := openStream(t, streamOptions{chunk: chunk})
			var raw []byte
			for i, size := range sizes {
				raw = append(raw, fake.Message(int64(i), fake.ID(uint64(i)), uint16(i), pattern(uint64(i), size))...)
				raw = append(raw, fake.Frame(fake.FrameResponse, []byte("_heartbeat_"))...)
				raw = append(raw, fake.Frame(fake.FrameError, fmt.Appendf(nil, "E_REQ_FAILED %d", i))...)
			}
			s.p.Raw(raw)
			synctest.Wait()
			all := s.sink.messages()
			if len(all) != len(sizes) || len(s.sink.refused()) != len(sizes) {
				t.Fatalf("%d messages and %d errors of %d", len(all), len(s.sink.refused()), len(sizes))
			}
			for i, m := range all {
				if m.ID.String() != fake.ID(uint64(i)) || m.Attempts != uint16(i) || m.Timestamp().UnixNano() != int64(i) || !bytes.Equal(m.Body, pattern(uint64(i), sizes[i])) {
					t.Errorf("message %d differs: %v, %d bytes", i, m.ID, len(m.Body))
				}
			}
			s.alive()
		})
	}
}

// TestBodySizes checks bodies around every size that the reader treats differently, between small
// ones. All are held until the end.
func TestBodySizes(t *testing.T) {
	const frame = 8 + 26
	var sizes []int
	for _, at := range []int{0, 1024, 2048, 4096, 8192, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
		for _, size := range []int{at - frame - 1, at - frame, at - frame + 1, at - 1, at, at + 1} {
			if size >= 0 {
				sizes = append(sizes, size)
			}
		}
	}
	sizes = append(sizes, 300_000, 1<<20-1, 1<<20)
	for _, chunk := range []int{0, 1447} {
		bubbles(t, fmt.Sprint("chunk of ", chunk), func(t *testing.T) {
			s := openStream(t, streamOptions{chunk: chunk})
			n := uint64(0)
			var want []int
			for _, size := range sizes {
				for _, size := range []int{10, size, 1} {
					s.p.Message(fake.ID(n), 1, pattern(n, size))
					want = append(want, size)
					n++
				}
				if n%4 == 0 {
					synctest.Wait() // so that not every read is full
				}
			}
			synctest.Wait()
			all := s.sink.messages()
			if len(all) != len(want) {
				t.Fatalf("%d messages of %d", len(all), len(want))
			}
			for i, m := range all {
				if !bytes.Equal(m.Body, pattern(uint64(i), want[i])) {
					t.Errorf("the body of message %d, %d bytes, is not what was sent (%d bytes)", i, len(m.Body), want[i])
				}
				m.Release()
			}
			s.alive()
		})
	}
}

// TestReleasedAtOnce checks that a block is reused from its start while half a frame lies at its
// end.
func TestReleasedAtOnce(t *testing.T) {
	for _, chunk := range []int{0, 100, 1000, 3000} {
		bubbles(t, fmt.Sprint("chunk of ", chunk), func(t *testing.T) {
			next := uint64(0)
			s := openStream(t, streamOptions{chunk: chunk, deliver: func(msgs []handler.Delivery) {
				for i := range msgs {
					if !bytes.Equal(msgs[i].Body, pattern(next, int(next*37%500))) {
						t.Errorf("the body of message %d is not what was sent", next)
					}
					next++
					msgs[i].Release()
				}
			}})
			const n = 1000
			for i := range uint64(n) {
				s.p.Message(fake.ID(i), 1, pattern(i, int(i*37%500)))
			}
			s.alive()
			if next != n {
				t.Errorf("%d messages were delivered, want %d", next, n)
			}
		})
	}
}

// TestReceived checks that the time of receipt is that of the first byte, since nsqd's timeout runs
// from there.
func TestReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		raw := fake.Message(0, fake.ID(1), 1, pattern(1, 100))
		time.Sleep(time.Second)
		for i := range raw[:10] {
			s.p.Raw(raw[i : i+1])
			time.Sleep(time.Second)
		}
		// The rest arrives with the next message and half of another one.
		s.p.Raw(append(append(raw[10:], fake.Message(0, fake.ID(2), 1, nil)...), raw[:60]...))
		time.Sleep(4 * time.Second)
		s.p.Raw(raw[60:])
		synctest.Wait()
		for i, want := range []time.Duration{1 * time.Second, 11 * time.Second, 11 * time.Second} {
			if got := s.sink.messages()[i].Received().Sub(s.start); got != want {
				t.Errorf("message %d was received after %v, want %v", i, got, want)
			}
		}
	})
}

func TestSilentFromStart(t *testing.T) {
	for _, interval := range []time.Duration{0, time.Second, time.Minute} {
		bubbles(t, interval.String(), func(t *testing.T) {
			s := openStream(t, streamOptions{cfg: conn.Config{HeartbeatInterval: interval}})
			want := 2 * interval
			if interval == 0 {
				want = 2 * beat
			}
			err := s.failed(conn.PhaseStream, want)
			wantIs(t, err, conn.ErrSilent)
			wantIs(t, err, os.ErrDeadlineExceeded)
		})
	}
}

// TestSilentAfterHeartbeat checks that the read deadline moves by at least a quarter interval.
func TestSilentAfterHeartbeat(t *testing.T) {
	for last, want := range map[time.Duration]time.Duration{
		0:                                    60 * time.Second,
		7*time.Second + 499*time.Millisecond: 60 * time.Second,
		7*time.Second + 500*time.Millisecond: 67*time.Second + 500*time.Millisecond,
		30 * time.Second:                     90 * time.Second,
		59 * time.Second:                     119 * time.Second,
	} {
		bubbles(t, last.String(), func(t *testing.T) {
			s := openStream(t, streamOptions{})
			time.Sleep(last)
			s.p.Heartbeat()
			wantIs(t, s.failed(conn.PhaseStream, want), conn.ErrSilent)
		})
	}
}

// TestHeartbeatsKeepItAlive checks that the connection lives while heartbeats are at most 1.75
// intervals apart, and ends within 2 intervals of the last.
func TestHeartbeatsKeepItAlive(t *testing.T) {
	for seed := range uint64(20) {
		bubbles(t, fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			s := openStream(t, streamOptions{})
			for range 200 {
				time.Sleep(rand.N(beat * 7 / 4))
				for range 1 + random.IntN(3) {
					s.alive()
				}
			}
			last := time.Since(s.start)
			failure := s.broken(conn.PhaseStream)
			wantIs(t, failure, conn.ErrSilent)
			if silent := s.at - last; silent < beat*7/4 || silent > 2*beat {
				t.Errorf("it ended after %v of silence, want 52.5s to 60s", silent)
			}
		})
	}
}

// TestDrippingHeartbeats checks that complete frames keep the connection alive, however slowly
// their bytes arrive.
func TestDrippingHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		for range 50 {
			for _, b := range fake.Frame(fake.FrameResponse, []byte("_heartbeat_")) {
				time.Sleep(2500 * time.Millisecond) // 47.5 s a frame
				s.p.Raw([]byte{b})
			}
			s.p.Expect("NOP")
		}
		s.alive()
	})
}

// TestDrip (M20) checks that a frame must be complete within two intervals of its first byte.
func TestDrip(t *testing.T) {
	frame := fake.Message(0, fake.ID(2), 1, make([]byte, 1000))
	tests := map[string]struct {
		before func(s *stream) (sent int)
		want   time.Duration
	}{
		"at once":             {func(*stream) int { return 0 }, 60 * time.Second},
		"after a second":      {func(*stream) int { time.Sleep(time.Second); return 0 }, 60 * time.Second},
		"after half a minute": {func(*stream) int { time.Sleep(beat); return 0 }, 90 * time.Second},
		"after a good frame": {func(s *stream) int {
			time.Sleep(20 * time.Second)
			s.message(1)
			return 0
		}, 80 * time.Second},
		"with the good frame before it": {func(s *stream) int {
			time.Sleep(20 * time.Second)
			s.p.Raw(append(fake.Message(0, fake.ID(1), 1, nil), frame[:3]...))
			return 3
		}, 80 * time.Second},
	}
	for name, c := range tests {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			for i := c.before(s); i < len(frame); i++ {
				s.p.Raw(frame[i : i+1])
				time.Sleep(time.Second)
			}
			wantIs(t, s.failed(conn.PhaseStream, c.want), conn.ErrSilent)
			if got := s.Stats().Received; got > 1 {
				t.Error("the message that was incomplete was delivered")
			}
		})
	}
}
