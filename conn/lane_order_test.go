package conn_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestLaneOrder: what a goroutine answers is written in its order, whatever else it queues in between, and whoever else answers.
func TestLaneOrder(t *testing.T) {
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
							finishIn(s, g, m)
							want[g] = append(want[g], touch(n), fin(n))
						case 5:
							s.GiveUp(m)
							want[g] = append(want[g], fin(n))
						default:
							finishIn(s, g, m)
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
