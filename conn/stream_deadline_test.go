package conn_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

func TestSilentFromTheStart(t *testing.T) {
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

// TestSilentAfterHeartbeat: the deadline is moved by a quarter interval at least.
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

// TestHeartbeatsKeepItAlive: as long as none is more than 1.75 intervals after the one before. And the end comes within 2 of the last.
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

// TestSlowHeartbeats: bytes that keep making frames keep it alive, however slowly they drip.
func TestSlowHeartbeats(t *testing.T) {
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

// TestDrip is M20: a frame must be complete within two intervals of its first byte, whatever drips.
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

// TestHeartbeatFlood is M17: heartbeats that come together are answered together, and while a write waits nothing piles up.
func TestHeartbeatFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		open := s.tap.holdWrites()
		flood := bytes.Repeat(fake.Frame(fake.FrameResponse, []byte("_heartbeat_")), 1000)
		s.p.Heartbeat()
		synctest.Wait() // its answer is being written
		for range 100 {
			s.p.Raw(flood)
		}
		synctest.Wait()
		open()
		// The first was held up; all others got one answer.
		s.wantWritten("NOP\n", "NOP\n")
	})
}

// TestWriteDeadline: a peer that reads nothing ends the connection after one heartbeat interval, up to a quarter more.
// Nobody has to wait for it.
func TestWriteDeadline(t *testing.T) {
	for pause, want := range map[time.Duration]time.Duration{
		0:                                    37*time.Second + 500*time.Millisecond,
		5 * time.Second:                      37*time.Second + 500*time.Millisecond,
		7*time.Second + 500*time.Millisecond: 37*time.Second + 500*time.Millisecond,
		7*time.Second + 501*time.Millisecond: 7*time.Second + 501*time.Millisecond + 37*time.Second + 500*time.Millisecond,
		25 * time.Second:                     62*time.Second + 500*time.Millisecond,
	} {
		bubbles(t, pause.String(), func(t *testing.T) {
			s := openStream(t, streamOptions{})
			first, second, third := s.message(1), s.message(2), s.message(3)
			s.tap.SetBuffer(len("RDY 1\n") + 3)
			s.SetQuota(1) // the first write sets the deadline
			synctest.Wait()
			time.Sleep(pause)
			ctx := first.Context()
			s.Finish(first)
			synctest.Wait()
			stop := make(chan struct{})
			go func() { // nsqd is not silent
				defer close(stop)
				for s.p.WriteErr() == nil {
					s.p.Heartbeat()
					time.Sleep(time.Second)
				}
			}()
			if !s.Finish(second) || second.Message().Touch() == nil || !s.Alive() {
				t.Error("answering depends on the write")
			}
			wantIs(t, s.failed(conn.PhaseStream, want), conn.ErrSilent)
			if s.Finish(third) || s.Alive() || ctx.Err() == nil {
				t.Error("it is not over")
			}
			<-stop
		})
	}
}

// TestWriteDeadlineOfTheHalfClose is a new one, also when nothing has been written for long: the end of a compressed stream is
// written, too.
func TestWriteDeadlineOfTheHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{
			cfg: conn.Config{Compression: conn.Deflate}, identify: map[string]any{"deflate": true},
			upgrade: func(p *fake.Peer) { p.UpgradeDeflate() },
		})
		s.SetQuota(1)
		s.p.Expect("RDY")
		for range 20 {
			time.Sleep(10 * time.Second)
			s.message(1)
		}
		s.CloseWrite()
		if !s.p.HalfClosed() {
			t.Error("no half-close")
		}
		s.p.Close()
		if err := s.wait(); err != nil {
			t.Error(err)
		}
	})
}
