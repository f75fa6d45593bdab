package flow_test

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

// simulation is a topic and a consumer with a breaker, in virtual time.
type simulation struct {
	breaker  *flow.Breaker[int] // nil: none
	handlers int
	service  time.Duration
	fails    func(now time.Duration, message int) bool
	messages int           // that are there at first; 0: there is always a new one
	every    time.Duration // between new ones
	most     int           // MaxAttempts; 0: no limit

	runs, attempts map[int]int // by message; attempts are what counts
	good, failed   int
	dead           int
	opened         []time.Duration
	openTime       time.Duration

	rand    *rand.Rand
	running int
	next    int // new message
	events  events
	ready   []int
}

// event is the end of a run, or a message that is due.
type event struct {
	at, began time.Duration
	message   int
	ends      bool
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *simulation) run(length time.Duration) {
	s.runs, s.attempts = make(map[int]int), make(map[int]int)
	s.rand = rand.New(rand.NewPCG(1, uint64(s.handlers)))
	for i := range s.messages {
		s.ready = append(s.ready, i)
	}
	for now, tick := time.Duration(0), time.Duration(0); now < length; {
		if now >= tick {
			tick += flow.Tick
			if s.breaker != nil {
				s.breaker.Tick(now, s.count)
				if s.breaker.Open() && s.breaker.Holds(now) > 0 {
					s.openTime += flow.Tick
				}
			}
		}
		limit := s.handlers
		if s.breaker != nil {
			limit = min(limit, s.breaker.Limit(now))
		}
		for s.running < limit && s.start(now) {
		}
		if s.events.Len() == 0 || s.events[0].at > tick {
			now = tick
			continue
		}
		e := heap.Pop(&s.events).(event)
		now = e.at
		if e.ends {
			s.end(e)
		} else {
			s.ready = append(s.ready, e.message)
		}
	}
}

func (s *simulation) count() uint64 { return uint64(s.good) }

func (s *simulation) start(now time.Duration) bool {
	var m int
	switch {
	case len(s.ready) > 0:
		m, s.ready = s.ready[0], s.ready[1:]
	case s.messages == 0 && now >= time.Duration(s.next)*s.every:
		m = s.next
		s.next++
	default:
		return false
	}
	s.running++
	heap.Push(&s.events, event{at: now + s.service, began: now, message: m, ends: true})
	return true
}

func (s *simulation) end(e event) {
	now, m := e.at, e.message
	s.running--
	s.runs[m]++
	s.attempts[m]++
	if !s.fails(now, m) {
		s.good++
		if s.breaker != nil && !s.breaker.Closed() {
			s.breaker.Succeeded(s.handlers)
		}
		return
	}
	s.failed++
	if s.breaker != nil {
		if s.breaker.Failed(now, e.began, m, s.handlers, s.count) {
			s.opened = append(s.opened, now)
		}
		switch spared := s.breaker.Outage(now, e.began, s.count); {
		case spared:
			s.attempts[m]--
		case s.most > 0 && s.attempts[m] >= s.most:
			s.dead++
			return
		}
	}
	delay := time.Duration(math.Exp2(float64(min(s.runs[m]-1, 10)))) * time.Second
	delay = min(delay, 10*time.Minute)
	delay = time.Duration(float64(delay) * (0.5 + s.rand.Float64()))
	heap.Push(&s.events, event{at: now + delay, message: m})
}
