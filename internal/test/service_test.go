package test

import (
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestServiceTimeOfQuietTopic: single messages, each handled between two looks at the workers, are no handlers that take no time.
// Else the burst that follows comes as a whole, although it takes long, and is given back.
func TestServiceTimeOfQuietTopic(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c, _ := consume(t, []*nsqxtest.Server{s}, sleeper(10*time.Millisecond), nsqx.WithConcurrency(4))
		most := 0
		for range 20 {
			publish(s, 1)
			time.Sleep(time.Second)
			most = max(most, c.Stats().MaxInFlight)
		}
		if most > 88 {
			t.Errorf("max in flight of 4 handlers that take 10 ms was %d, want about 44", most)
		}
		publish(s, 3000)
		s.Await("orders", "billing", finished(3020))
		want(t, "REQs of a burst", billing(s).Requeued, 0)
	})
}

// TestServiceTimeIsFoundEarly: nobody waits a whole tick to learn that handlers are quick, at the start or when the first
// message comes later.
func TestServiceTimeIsFoundEarly(t *testing.T) {
	for name, wait := range map[string]time.Duration{"start": 0, "later": time.Minute} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c, _ := consume(t, []*nsqxtest.Server{s}, sleeper(time.Millisecond), nsqx.WithConcurrency(4))
			time.Sleep(wait)
			publish(s, 1000)
			time.Sleep(15 * time.Millisecond)
			if n := c.Stats().MaxInFlight; n < 100 {
				t.Errorf("max in flight of 4 handlers that take 1 ms is %d after 15 ms, want about 400", n)
			}
			s.Await("orders", "billing", finished(1000))
		})
	}
}
