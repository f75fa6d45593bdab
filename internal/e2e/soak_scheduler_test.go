package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// soakSeed returns NSQX_SEED, or a new seed, and logs it. A seed repeats the faults and their
// order, but not their exact times.
func soakSeed(tb testing.TB) uint64 {
	tb.Helper()
	seed := rand.Uint64()
	if v, ok := os.LookupEnv("NSQX_SEED"); ok {
		var err error
		if seed, err = strconv.ParseUint(v, 0, 64); err != nil {
			tb.Fatalf("NSQX_SEED: %v", err)
		}
	}
	tb.Logf("NSQX_SEED=%d", seed)
	return seed
}

// chaosFault is a kind of fault. begin starts it. If heal is not nil, the scheduler calls it later.
type chaosFault struct {
	name   string
	weight int
	begin  func(r *rand.Rand) (heal func())
	most   time.Duration // the longest time until heal
}

// scheduler starts a random fault every 50 to 500 ms, from one goroutine.
type scheduler struct {
	random *rand.Rand
	faults []chaosFault
	total  int // of the weights
	active []activeFault
	counts map[string]int
}

type activeFault struct {
	at   time.Time // when to heal it
	heal func()
}

func newScheduler(seed uint64, faults ...chaosFault) *scheduler {
	s := &scheduler{random: rand.New(rand.NewPCG(seed, 1)), faults: faults, counts: make(map[string]int)}
	for _, f := range faults {
		s.total += f.weight
	}
	return s
}

// run starts faults for d and calls tick between them.
func (s *scheduler) run(d time.Duration, tick func()) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		next := time.Now().Add(50*time.Millisecond + time.Duration(s.random.Int64N(int64(450*time.Millisecond))))
		for {
			i := s.first()
			if i < 0 || s.active[i].at.After(next) {
				break
			}
			time.Sleep(time.Until(s.active[i].at))
			s.healOne(i)
		}
		time.Sleep(time.Until(next))
		tick()
		s.step()
	}
	s.healAll()
}

// step begins one fault. Its randomness comes from its own source, so the next fault does not
// depend on it.
func (s *scheduler) step() {
	r := rand.New(rand.NewPCG(s.random.Uint64(), 2))
	n := s.random.IntN(s.total)
	i := 0
	for ; n >= s.faults[i].weight; i++ {
		n -= s.faults[i].weight
	}
	f := s.faults[i]
	s.counts[f.name]++
	began := time.Now()
	if heal := f.begin(r); heal != nil {
		s.active = append(s.active, activeFault{began.Add(time.Duration(r.Int64N(int64(f.most)))), heal})
	}
}

// first returns the index of the active fault to heal first, or -1.
func (s *scheduler) first() int {
	first := -1
	for i, active := range s.active {
		if first < 0 || active.at.Before(s.active[first].at) {
			first = i
		}
	}
	return first
}

func (s *scheduler) healOne(i int) {
	heal := s.active[i].heal
	s.active = slices.Delete(s.active, i, i+1)
	heal()
}

func (s *scheduler) healAll() {
	for len(s.active) > 0 {
		s.healOne(s.first())
	}
}

func (s *scheduler) String() string {
	total := 0
	for _, n := range s.counts {
		total += n
	}
	return fmt.Sprintf("%d faults: %v", total, s.counts)
}

// TestScheduler: a seed repeats the faults in their order, every fault is healed, and weights
// decide their frequency.
func TestScheduler(t *testing.T) {
	t.Parallel()
	var runs [2]string
	for i := range runs {
		open := 0
		s := newScheduler(7,
			chaosFault{"a", 9, func(r *rand.Rand) func() { runs[i] += fmt.Sprint(" a", r.IntN(100)); return nil }, 0},
			chaosFault{"b", 1, func(r *rand.Rand) func() {
				runs[i] += fmt.Sprint(" b", r.IntN(100))
				open++
				return func() { open-- }
			}, time.Hour})
		for range 1000 {
			s.step()
		}
		if b := s.counts["b"]; open != b || b < 50 || b > 200 {
			t.Errorf("%d are open, of %v", open, s)
		}
		s.healAll()
		if open != 0 {
			t.Errorf("%d are open at the end", open)
		}
	}
	if runs[0] != runs[1] {
		t.Errorf("two runs of a seed:\n%.200s\n%.200s", runs[0], runs[1])
	}
}
