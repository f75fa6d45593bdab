package e2e

import (
	"math/rand/v2"
	"time"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

func (s *soak) faults() []chaosFault {
	const ms = time.Millisecond
	proxy := func(r *rand.Rand) *testnsqd.Proxy { return s.proxies[r.IntN(len(s.proxies))][r.IntN(soakNSQDs)] }
	direction := func(r *rand.Rand) testnsqd.Direction { return testnsqd.Direction(r.IntN(2)) }
	consumer := func(r *rand.Rand) *randomConsumer { return s.consumers[r.IntN(soakConsumers)] }
	return []chaosFault{
		{"cut", 20, func(r *rand.Rand) func() { proxy(r).Cut(); return nil }, 0},
		{"reset", 20, func(r *rand.Rand) func() { proxy(r).Reset(); return nil }, 0},
		{"cut all", 3, func(r *rand.Rand) func() {
			for _, p := range s.proxies[r.IntN(len(s.proxies))] {
				p.Cut()
			}
			return nil
		}, 0},
		{"cut after bytes", 10, func(r *rand.Rand) func() {
			p, d := proxy(r), direction(r)
			p.CutAfter(d, r.IntN(20_000))
			return func() { p.CutAfter(d, -1) }
		}, 2000 * ms},
		{"refuse", 5, func(r *rand.Rand) func() {
			p := proxy(r)
			p.Refuse()
			p.Reset()
			return p.Heal
		}, 1000 * ms},
		{"freeze", 10, func(r *rand.Rand) func() {
			p, d := proxy(r), direction(r)
			p.Freeze(d)
			return func() { p.Thaw(d) }
		}, 3000 * ms},
		{"freeze both", 5, func(r *rand.Rand) func() {
			p := proxy(r)
			p.Freeze(testnsqd.ToServer)
			p.Freeze(testnsqd.ToClient)
			return p.Heal
		}, 3000 * ms},
		{"slow", 10, func(r *rand.Rand) func() {
			p, d := proxy(r), direction(r)
			p.Delay(d, time.Duration(r.IntN(50))*ms)
			p.Slice(d, 1+r.IntN(40))
			return func() {
				p.Delay(d, 0)
				p.Slice(d, 0)
			}
		}, 2000 * ms},
		{"nsqd restart", 8, func(r *rand.Rand) func() { s.restart(r.IntN(soakNSQDs)); return nil }, 0},
		{"lookupd restart", 5, func(r *rand.Rand) func() {
			l := s.lookups[r.IntN(len(s.lookups))]
			l.Stop()
			return func() {
				l.Restart()
				for _, n := range s.nsqds {
					n.Kick()
				}
			}
		}, 1000 * ms},
		{"channel pause", 3, func(r *rand.Rand) func() {
			n := s.nsqds[r.IntN(soakNSQDs)]
			n.Do("/channel/pause?topic=" + topic + "&channel=" + channel)
			return func() { n.Do("/channel/unpause?topic=" + topic + "&channel=" + channel) }
		}, 1000 * ms},
		{"replace", 12, func(r *rand.Rand) func() {
			slot := r.IntN(soakConsumers)
			old := s.consumers[slot]
			s.retired.Go(old.stop)
			s.addConsumer(slot, r)
			return nil
		}, 0},
		{"pause", 5, func(r *rand.Rand) func() {
			m := consumer(r)
			m.Pause()
			return m.Resume
		}, 500 * ms},
		{"concurrency", 8, func(r *rand.Rand) func() { consumer(r).setConcurrency(1 + r.IntN(16)); return nil }, 0},
		{"max in flight", 8, func(r *rand.Rand) func() { consumer(r).setMaxInFlight(r.IntN(200)); return nil }, 0},
		{"burst", 6, func(r *rand.Rand) func() {
			a := r.IntN(soakProducers)
			s.producers[a].burst(a*soakStreams, r)
			return nil
		}, 0},
		{"outage", 2, func(r *rand.Rand) func() {
			m := consumer(r)
			m.outage.Store(true)
			return func() { m.outage.Store(false) }
		}, 400 * ms},
	}
}
