package conn_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// Tests of outbox.go: FINs of many goroutines.

// TestFinishEnded answers from many goroutines. Each answer must be written once.
func TestFinishEnded(t *testing.T) {
	for _, goroutines := range []int{1, 3, 8, 40} {
		bubbles(t, fmt.Sprint(goroutines), func(t *testing.T) {
			const each = 250
			s := openStream(t, streamOptions{})
			commands := s.heard()
			msgs := s.deliver(1, goroutines*each)
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for _, m := range msgs[g*each : (g+1)*each] {
						if !finishEnded(s, m) {
							t.Errorf("FIN of %s was not taken", m.ID)
						}
						if finishEnded(s, m) || s.Requeue(m, 0) || s.Forget(m) {
							t.Errorf("%s was answered twice", m.ID)
						}
					}
				})
			}
			for range 100 {
				st := s.Stats()
				if st.Finished+uint64(st.InFlight) != uint64(len(msgs)) {
					t.Errorf("%d finished and %d in flight of %d", st.Finished, st.InFlight, len(msgs))
				}
			}
			wg.Wait()
			st := s.Stats()
			if st.Finished != uint64(len(msgs)) || st.InFlight != 0 {
				t.Errorf("%d finished, %d in flight, want %d, 0", st.Finished, st.InFlight, len(msgs))
			}
			s.CloseWrite()
			if err := s.wait(); err != nil {
				t.Errorf("Serve returned %v", err)
			}
			got := commands()
			slices.Sort(got)
			if len(got) != len(msgs) || len(slices.Compact(got)) != len(msgs) || got[0] != fin(1) {
				t.Errorf("%d commands, %d different, want one FIN for each of %d", len(got), len(slices.Compact(got)), len(msgs))
			}
			if st := s.Stats(); st.Finished != uint64(len(msgs)) || st.Lost != 0 || st.BytesWritten != uint64(len(msgs)*21) {
				t.Errorf("stats %+v, want %d finished, none lost", st, len(msgs))
			}
		})
	}
}

// TestFinishBeforeCLS checks that earlier FINs precede CLS, whose reply proves that nsqd has read
// them.
func TestFinishBeforeCLS(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		msgs := s.deliver(1, 20)
		open := s.tap.holdWrites()
		s.Finish(msgs[0]) // the write loop blocks in this one
		synctest.Wait()
		for _, m := range msgs[1:17] {
			finishEnded(s, m)
		}
		s.StopDelivery()
		for _, m := range msgs[17:] {
			finishEnded(s, m)
		}
		open()
		commands := strings.Split(s.sent(), ", ")
		if i := slices.Index(commands, "CLS"); i != 17 || len(commands) != 21 {
			t.Errorf("CLS is command %d of %d, want 17 FINs before it and 3 after: %v", i, len(commands), commands)
		}
	})
}

// TestFinishDuringHalfClose answers while the connection is half-closed: accepted answers are
// written, the others are counted as lost.
func TestFinishDuringHalfClose(t *testing.T) {
	for round := range 30 {
		bubbles(t, fmt.Sprint(round), func(t *testing.T) {
			const goroutines, each = 10, 100
			s := openStream(t, streamOptions{})
			commands := s.heard()
			msgs := s.deliver(1, goroutines*each)
			var accepted atomic.Int64
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for i, m := range msgs[g*each : (g+1)*each] {
						if g == 0 && i == 3*round {
							s.CloseWrite()
						}
						if finishEnded(s, m) {
							accepted.Add(1)
						}
					}
				})
			}
			wg.Wait()
			if err := s.wait(); err != nil {
				t.Errorf("Serve returned %v", err)
			}
			got := commands()
			if len(got) != int(accepted.Load()) {
				t.Errorf("%d FINs were accepted, %d were written", accepted.Load(), len(got))
			}
			st := s.Stats()
			if st.Finished != uint64(len(got)) || st.Lost != uint64(len(msgs)-len(got)) || st.InFlight != 0 {
				t.Errorf("%d finished, %d lost, %d in flight; want %d, %d, 0", st.Finished, st.Lost, st.InFlight, len(got), len(msgs)-len(got))
			}
		})
	}
}

// TestFinishDuringAbort checks that every message is counted once, as finished or as lost.
func TestFinishDuringAbort(t *testing.T) {
	for round := range 30 {
		bubbles(t, fmt.Sprint(round), func(t *testing.T) {
			const goroutines, each = 10, 100
			s := openStream(t, streamOptions{})
			_ = s.heard()
			msgs := s.deliver(1, goroutines*each)
			var accepted atomic.Int64
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for i, m := range msgs[g*each : (g+1)*each] {
						if g == 0 && i == 3*round {
							s.Abort(nil)
						}
						if finishEnded(s, m) {
							accepted.Add(1)
						}
					}
				})
			}
			wg.Wait()
			s.broken(conn.PhaseStream)
			st := s.Stats()
			if st.Finished != uint64(accepted.Load()) || st.Finished+st.Lost != uint64(len(msgs)) || st.InFlight != 0 {
				t.Errorf("%d accepted; %d finished, %d lost, %d in flight, of %d", accepted.Load(), st.Finished, st.Lost, st.InFlight, len(msgs))
			}
			if finishEnded(s, msgs[0]) {
				t.Error("a FIN was taken by a connection that is dead")
			}
		})
	}
}

// finishEnded answers as a worker does.
func finishEnded(s *stream, m *handler.Delivery) bool {
	return m.End() && s.FinishEnded(unsafe.Slice(m, 1))
}

// TestAnswersInOrder checks that the commands of one goroutine keep their order.
func TestAnswersInOrder(t *testing.T) {
	for round := range 30 {
		bubbles(t, fmt.Sprint(round), func(t *testing.T) {
			const goroutines, each = 12, 120
			s := openStream(t, streamOptions{})
			commands := s.heard()
			msgs := s.deliver(1, goroutines*each)
			want := make([][]string, goroutines)
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					mine := msgs[g*each : (g+1)*each]
					for i, m := range mine {
						n := uint64(g*each + i + 1)
						switch i % 6 {
						case 3:
							s.Requeue(m, time.Second)
							want[g] = append(want[g], req(n, 1000))
						case 4:
							if err := m.Message().Touch(); err != nil {
								t.Error(err)
							}
							finishEnded(s, m)
							want[g] = append(want[g], touch(n), fin(n))
						case 5:
							s.GiveUp(m)
							want[g] = append(want[g], fin(n))
						default:
							finishEnded(s, m)
							want[g] = append(want[g], fin(n))
						}
					}
				})
			}
			wg.Wait()
			s.CloseWrite()
			_ = s.wait()
			owner := make(map[string]int)
			for g, cmds := range want {
				for _, cmd := range cmds {
					owner[cmd] = g
				}
			}
			got := make([][]string, goroutines)
			for _, cmd := range commands() {
				g, known := owner[cmd]
				if !known {
					t.Errorf("wrote %q, which nobody has asked for", cmd)
				}
				got[g] = append(got[g], cmd)
			}
			for g := range goroutines {
				if !slices.Equal(got[g], want[g]) {
					for i := range want[g] {
						if i < len(got[g]) && got[g][i] != want[g][i] {
							t.Fatalf("goroutine %d: command %d is %q, want %q", g, i, got[g][i:min(i+4, len(got[g]))], want[g][i])
						}
					}
					t.Fatalf("goroutine %d: wrote %d commands, want %d", g, len(got[g]), len(want[g]))
				}
			}
		})
	}
}
