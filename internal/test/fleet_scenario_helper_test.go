package test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// scenario is a fleet and what happens to it, chosen by a seed.
type scenario struct {
	seed        uint64
	nsqds       int // at the start
	replicas    int
	concurrency int
	batch       int           // messages that a handler takes at once; 0: it takes one
	batchWait   time.Duration // how long a batch may form
	maxInFlight int           // 0: automatic
	maxAttempts int
	service     serviceTime
	failing     float64 // part of the runs that fail, each for itself
	phases      []phase
	noBreaker   bool // for the twin of a poison phase
	day         time.Duration
}

// serviceTime is how long a handler works.
type serviceTime struct {
	mean      time.Duration
	lognormal bool
	hangs     float64 // part of the runs that take hangTime
}

// hangTime is above the message timeout, 60 s.
const hangTime = 3 * time.Minute

// phase is a part of a scenario. The next begins when its messages are handled.
type phase struct {
	kind     phaseKind
	rest     time.Duration // without messages, before it
	messages int
	spread   int           // nsqds that get messages
	lasts    time.Duration // of an outage, a hang, the messages of a trickle
	failTime time.Duration // of a handler in an outage
	poison   float64       // part of the messages that always fail
}

type phaseKind string

const (
	trickle phaseKind = "trickle" // a message now and then
	backlog phaseKind = "backlog" // many messages at once
	churn   phaseKind = "churn"   // a backlog while nsqds come, go and move, and replicas are replaced
	topics  phaseKind = "topics"  // new topics with two channels
	hang    phaseKind = "hang"    // all handlers hang
	outage  phaseKind = "outage"  // all handlers fail
	poison  phaseKind = "poison"  // a short outage, then a part of the messages fails always
)

// String is for the text of a failure.
func (s *scenario) String() string {
	var b strings.Builder
	law := "constant"
	if s.service.lognormal {
		law = "lognormal"
	}
	fmt.Fprintf(&b, "%d nsqds, %d replicas x %d handlers of %v (%s", s.nsqds, s.replicas, s.concurrency, s.service.mean, law)
	if s.service.hangs > 0 {
		fmt.Fprintf(&b, ", %g %% hang", 100*s.service.hangs)
	}
	fmt.Fprintf(&b, "), MaxAttempts %d", s.maxAttempts)
	if s.batch > 0 {
		fmt.Fprintf(&b, ", batches of %d or %v", s.batch, s.batchWait)
	}
	if s.maxInFlight > 0 {
		fmt.Fprintf(&b, ", MaxInFlight %d", s.maxInFlight)
	}
	if s.failing > 0 {
		fmt.Fprintf(&b, ", %g %% fail", 100*s.failing)
	}
	for _, p := range s.phases {
		fmt.Fprintf(&b, "; %v", p)
	}
	return b.String()
}

func (p phase) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "after %v %s", p.rest, p.kind)
	if p.messages > 0 {
		fmt.Fprintf(&b, " of %d messages on %d nsqds", p.messages, p.spread)
	}
	if p.lasts > 0 {
		fmt.Fprintf(&b, " for %v", p.lasts)
	}
	if p.failTime > 0 {
		fmt.Fprintf(&b, ", failing after %v", p.failTime)
	}
	if p.poison > 0 {
		fmt.Fprintf(&b, ", %g %% poison", 100*p.poison)
	}
	return b.String()
}

// Limits of a scenario, so that its run takes a fraction of a second: a message costs some 40 µs of
// CPU, a heartbeat 10, a tick of a busy replica 3 and more.
const (
	fleetMessages   = 2500
	fleetHeartbeats = 8000
	fleetTicks      = 18000
)

// newScenario chooses. fullDay makes it last a day however large the fleet is.
func newScenario(seed uint64, fullDay bool) *scenario {
	r := rand.New(rand.NewPCG(seed, 12))
	s := &scenario{
		seed:        seed,
		nsqds:       logUniform(r, 1, 50),
		replicas:    logUniform(r, 1, 8),
		concurrency: logUniform(r, 1, 64),
		maxAttempts: 3 + r.IntN(4),
	}
	s.chooseBatch(rand.New(rand.NewPCG(seed, 13)))
	if r.IntN(5) == 0 {
		s.maxInFlight = max(200, s.concurrency)
	}
	s.service.mean = time.Duration(logUniform(r, 5, 10000)) * time.Millisecond
	s.service.lognormal = r.IntN(2) == 0
	switch r.IntN(8) {
	case 0, 1:
		s.chooseOutage(r)
	case 2:
		s.choosePoison(r)
	case 3:
		s.phases = []phase{s.backlog(r), {kind: hang, messages: s.messages(5), lasts: time.Duration(2+r.IntN(18)) * time.Minute}, s.backlog(r)}
	default:
		s.chooseHealthy(r)
	}
	if s.phases[0].kind != poison {
		s.rest(r, fullDay)
	}
	return s
}

// chooseBatch makes the handlers of every third fleet take batches.
func (s *scenario) chooseBatch(r *rand.Rand) {
	if r.IntN(3) == 0 {
		s.batch, s.concurrency = logUniform(r, 2, 50), 1+r.IntN(4)
		s.batchWait = time.Duration(logUniform(r, 1, 5000)) * time.Millisecond
	}
}

// slots is how many messages all handlers take at once.
func (s *scenario) slots() int { return s.replicas * s.concurrency * max(s.batch, 1) }

// chooseHealthy chooses phases in which handlers succeed, or fail each for itself.
func (s *scenario) chooseHealthy(r *rand.Rand) {
	switch r.IntN(4) {
	case 0:
		s.failing = []float64{0.02, 0.1, 0.2}[r.IntN(3)]
	case 1:
		s.service.hangs = 0.01
	}
	for range 1 + r.IntN(3) {
		p := s.backlog(r)
		switch r.IntN(5) {
		case 0:
			p = phase{kind: trickle, messages: 20 + r.IntN(100), spread: s.nsqds, lasts: time.Duration(1+r.IntN(60)) * time.Minute}
		case 1:
			p.kind = churn
		case 2:
			p = phase{kind: topics, messages: 10}
		}
		s.phases = append(s.phases, p)
	}
}

// chooseOutage lets a dependency be away for an hour, or for as long as the CPU allows.
func (s *scenario) chooseOutage(r *rand.Rand) {
	p := phase{kind: outage}
	s.nsqds = min(s.nsqds, 8)
	if r.IntN(2) == 0 {
		s.replicas = 1
	}
	if r.IntN(3) == 0 {
		p.messages = 1 + r.IntN(9)
		s.maxAttempts = 20 // an hour is 15 attempts by the default policy
	} else {
		p.messages = (30 + r.IntN(70)) * s.replicas
		s.maxAttempts = 4 // so 3 are allowed, and 4 where they fail at once
	}
	p.spread = 1 + r.IntN(s.nsqds)
	p.failTime = []time.Duration{0, 20 * time.Millisecond, 5 * time.Second, 29 * time.Second}[r.IntN(4)]
	if p.failTime == 0 && p.messages >= 30 {
		s.maxAttempts++
	}
	if s.replicas > 1 && p.messages >= 30 {
		s.maxAttempts += 3 // a replica cannot know which attempts were probes of others
	}
	p.lasts = max(time.Hour/time.Duration(s.replicas), 10*time.Minute)
	s.phases = []phase{p, s.backlog(r)}
}

// choosePoison is for a comparison with a consumer without a breaker.
func (s *scenario) choosePoison(r *rand.Rand) {
	s.nsqds, s.replicas, s.maxInFlight, s.batch = 1+r.IntN(5), 1, 0, 0
	s.concurrency = []int{1, 8, 64}[r.IntN(3)]
	s.service = serviceTime{mean: time.Duration(s.concurrency) * 40 * time.Millisecond, lognormal: r.IntN(2) == 0}
	s.phases = []phase{{
		kind: poison, messages: 3000, spread: s.nsqds, lasts: 10 * time.Second,
		failTime: 20 * time.Millisecond, poison: []float64{0.3, 0.5}[r.IntN(2)],
	}}
}

// backlog has 20 messages for each worker where the CPU allows it.
func (s *scenario) backlog(r *rand.Rand) phase {
	p := phase{kind: backlog, messages: s.messages(20), spread: s.nsqds}
	if r.IntN(3) == 0 {
		p.spread = 1 + r.IntN(s.nsqds)
	}
	return p
}

// messages returns how many messages keep all workers busy for a number of rounds, within what the
// CPU allows.
func (s *scenario) messages(rounds int) int {
	workers := s.slots()
	n := min(max(rounds*workers, 100), fleetMessages)
	ticks := fleetTicks * workers / s.replicas / (4 + s.nsqds) * 4
	n = min(n, max(int(time.Duration(ticks)*100*time.Millisecond/s.service.mean), 2*workers))
	return max(n, 30)
}

// rest shares out what is left of the day.
func (s *scenario) rest(r *rand.Rand, fullDay bool) {
	s.day = 24 * time.Hour
	if !fullDay {
		s.day = min(s.day, time.Duration(fleetHeartbeats/((s.nsqds+3)*s.replicas))*time.Minute)
	}
	left := s.day
	for _, p := range s.phases {
		left -= p.lasts
	}
	for i := range s.phases {
		left := max(left, time.Minute) / time.Duration(len(s.phases)-i)
		s.phases[i].rest = time.Duration(float64(left) * r.Float64()).Round(time.Second)
	}
}

// logUniform returns a number in [low, high] whose logarithm is uniform.
func logUniform(r *rand.Rand, low, high int) int {
	x := math.Log(float64(low)) + r.Float64()*(math.Log(float64(high)+1)-math.Log(float64(low)))
	return min(max(int(math.Exp(x)), low), high)
}

// sample returns the time of a run, and whether it hangs.
func (d serviceTime) sample(r *rand.Rand) (time.Duration, bool) {
	if r.Float64() < d.hangs {
		return hangTime, true
	}
	if !d.lognormal {
		return d.mean, false
	}
	return time.Duration(float64(d.mean) * min(math.Exp(r.NormFloat64()-0.5), 3)), false // below half the message timeout
}
