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

// soakSeed is the seed in the environment variable NSQX_SEED, or a new one. It is printed, and repeats
// the faults in their order, if not to the microsecond.
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

// chaosFault is one of those that a scheduler chooses from. It begins, and what it returns, if not nil, ends it after
// a while.
type chaosFault struct {
	name   string
	weight int
	begin  func(r *rand.Rand) (heal func())
	most   time.Duration // how long until it is healed, at most
}

// scheduler lets faults happen at random, one each 50 to 500 ms, from one goroutine.
type scheduler struct {
	random *rand.Rand
	faults []chaosFault
	total  int // of the weights
	ill    []illness
	counts map[string]int
}

// illness is a fault that has begun.
type illness struct {
	at   time.Time // when it is over
	heal func()
}

func newScheduler(seed uint64, faults ...chaosFault) *scheduler {
	s := &scheduler{random: rand.New(rand.NewPCG(seed, 1)), faults: faults, counts: make(map[string]int)}
	for _, f := range faults {
		s.total += f.weight
	}
	return s
}

// run lets faults happen for a while, and calls tick between them.
func (s *scheduler) run(d time.Duration, tick func()) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		next := time.Now().Add(50*time.Millisecond + time.Duration(s.random.Int64N(int64(450*time.Millisecond))))
		for {
			i := s.first()
			if i < 0 || s.ill[i].at.After(next) {
				break
			}
			time.Sleep(time.Until(s.ill[i].at))
			s.cure(i)
		}
		time.Sleep(time.Until(next))
		tick()
		s.step()
	}
	s.healAll()
}

// step begins one fault. All that is random about it comes from a source of its own, so that the next one
// is the same whatever this one finds.
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
		s.ill = append(s.ill, illness{began.Add(time.Duration(r.Int64N(int64(f.most)))), heal})
	}
}

// first is the illness that is over first; -1 if there is none.
func (s *scheduler) first() int {
	first := -1
	for i, ill := range s.ill {
		if first < 0 || ill.at.Before(s.ill[first].at) {
			first = i
		}
	}
	return first
}

func (s *scheduler) cure(i int) {
	heal := s.ill[i].heal
	s.ill = slices.Delete(s.ill, i, i+1)
	heal()
}

// healAll ends all that has begun.
func (s *scheduler) healAll() {
	for len(s.ill) > 0 {
		s.cure(s.first())
	}
}

// String counts the faults.
func (s *scheduler) String() string {
	total := 0
	for _, n := range s.counts {
		total += n
	}
	return fmt.Sprintf("%d faults: %v", total, s.counts)
}

// TestScheduler: a seed repeats the faults, in their order; all that is begun is healed, and weights weigh.
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
