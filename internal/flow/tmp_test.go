package flow_test

import (
	"testing"
	"time"
)

func TestTmpFair(t *testing.T) {
	for _, service := range []time.Duration{2 * time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second} {
		for _, conns := range []int{2, 3, 20, 50} {
			for _, slots := range []int{1, 2, 4, 16} {
				w := newTurnsWorld(conns, slots, service)
				for i := range conns {
					w.publish(i, 800_000/conns)
				}
				w.run(300*max(service, 100*time.Millisecond)*time.Duration(conns)/20, nil)
				var all []int
				for _, c := range w.conns {
					all = append(all, int(c.received))
				}
				least, most := all[0], 0
				for _, n := range all {
					least, most = min(least, n), max(most, n)
				}
				t.Logf("%v x %d conns %d slots: u %.3f rdys/s %.0f most in flight %d; %d..%d", service, conns, slots, w.utilisation(), float64(w.rdys)/w.now.Seconds(), w.most, least, most)
			}
		}
	}
}
func TestTmpOne(t *testing.T) {
	for _, service := range []time.Duration{2 * time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second} {
		for _, conns := range []int{2, 3, 20, 50} {
			for _, slots := range []int{1, 2, 4, 16} {
				w := newTurnsWorld(conns, slots, service)
				w.publish(1, 800_000)
				w.run(50*max(service, 100*time.Millisecond)*time.Duration(conns)/20, nil)
				t.Logf("%v x %d conns %d slots: u %.3f rdys/s %.0f most in flight %d", service, conns, slots, w.utilisation(), float64(w.rdys)/w.now.Seconds(), w.most)
			}
		}
	}
}
