package test

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestConsumerCallbacks: whatever user code does, the process lives, no message is lost, the consumer
// ends within its time, and something tells of it.
func TestConsumerCallbacks(t *testing.T) {
	for name, row := range consumerCallbacks() {
		eachWay(t, name, row.made, func(t *testing.T, m *misbehaviour) {
			d := newDay(t)
			c, err := d.consumer(row, m)
			if err != nil {
				if !row.made {
					t.Errorf("the constructor has failed: %v", err)
				}
				return
			}
			took, err := d.pass(c)
			d.wantSafe()
			if most := dayEnds + 2*time.Second; took > most {
				t.Errorf("the shutdown took %v, want at most %v (%v)", took, most, err)
			}
			if m.calls.Load() == 0 {
				t.Error("it was not called")
			}
			if !row.silent && err == nil && !d.log.mentions(traces...) {
				t.Errorf("nothing tells of it:\n%s", d.log.text())
			}
			if m.once && m.way != "hangs" || row.harmless && m.way != "hangs" {
				if n := billing(d.server).Finished; n != len(d.bodies) {
					t.Errorf("%d of %d messages were finished", n, len(d.bodies))
				}
			}
			close(m.release)
			time.Sleep(time.Hour)
			synctest.Wait()
		})
	}
}

// traces are what tells of user code that misbehaves.
var traces = []string{"panic", "Goexit", "not returned", "outlives its message", errOther.Error()}
