package flow_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

func newSimulation(handlers int, service time.Duration) *simulation {
	return &simulation{breaker: flow.NewBreaker[int](backoff), handlers: handlers, service: service}
}

var (
	concurrencies = []int{1, 8, 64}
	services      = []time.Duration{ms, 5 * sec, 29 * sec}
)

// TestOutageOfAnHour costs a message of thirty or more three attempts at most (four where they fail
// at once), and is the end of none, however many there are but one. MaxAttempts is 5.
func TestOutageOfAnHour(t *testing.T) {
	for _, handlers := range concurrencies {
		for _, service := range services {
			for _, messages := range []int{3, 5, 9, 12, 30, 64, 200} {
				t.Run(fmt.Sprintf("%d handlers, %v, %d messages", handlers, service, messages), func(t *testing.T) {
					s := newSimulation(handlers, service)
					s.messages, s.most = messages, 5
					s.fails = func(now time.Duration, _ int) bool { return now < time.Hour }
					s.run(4 * time.Hour)
					most := 0
					for _, n := range s.runs {
						most = max(most, n)
					}
					if s.dead > 0 || s.good != messages {
						t.Errorf("%d of %d were given up, %d succeeded", s.dead, messages, s.good)
					}
					allowed := 3
					if service == ms {
						allowed = 4
					}
					if most-1 > allowed && messages >= 30 {
						t.Errorf("a message has failed %d times, want %d at most; opened %d times", most-1, allowed, len(s.opened))
					}
				})
			}
		}
	}
}

// TestPartFails: where 30 or 50 % fail for good, the breaker costs less than 5 % of the throughput.
func TestPartFails(t *testing.T) {
	for _, part := range []float64{0.3, 0.5} {
		for _, handlers := range concurrencies {
			for _, service := range []time.Duration{20 * ms, sec, 29 * sec} {
				t.Run(fmt.Sprintf("%v, %d handlers, %v", part, handlers, service), func(t *testing.T) {
					r := rand.New(rand.NewPCG(7, 7))
					s := newSimulation(handlers, service)
					s.fails = func(time.Duration, int) bool { return r.Float64() < part }
					length := min(12*time.Hour, time.Duration(40_000/handlers)*service)
					s.run(length)
					possible := float64(handlers) * float64(length) / float64(service)
					if got := float64(s.good+s.failed) / possible; got < 0.95 {
						t.Errorf("%.3f of the throughput, opened %d times, for %v", got, len(s.opened), s.openTime)
					}
				})
			}
		}
	}
}

// TestPoisonOnAQuietTopic: messages that come round and round do not open the breaker while others
// succeed, if only now and then.
func TestPoisonOnAQuietTopic(t *testing.T) {
	for _, poison := range []int{1, 9} {
		for _, every := range []time.Duration{sec, 30 * sec, 10 * time.Minute} {
			t.Run(fmt.Sprintf("%d, others each %v", poison, every), func(t *testing.T) {
				s := newSimulation(8, 10*ms)
				s.every = every
				s.ready = make([]int, 0, poison)
				for i := range poison {
					s.ready = append(s.ready, -1-i)
				}
				s.fails = func(_ time.Duration, m int) bool { return m < 0 }
				s.run(12 * time.Hour)
				if len(s.opened) > 0 {
					t.Errorf("opened at %v", s.opened)
				}
			})
		}
	}
}

// TestPoisonIsGivenUp: on a topic where others succeed, messages that always fail have their
// attempts and no more.
func TestPoisonIsGivenUp(t *testing.T) {
	s := newSimulation(8, 10*ms)
	s.every, s.most = 30*sec, 5
	s.ready = []int{-1, -2, -3, -4, -5, -6, -7, -8, -9}
	s.fails = func(_ time.Duration, m int) bool { return m < 0 }
	s.run(30 * time.Minute)
	if s.dead != 9 || len(s.opened) > 0 {
		t.Errorf("%d were given up, want 9; opened at %v", s.dead, s.opened)
	}
}

// TestNothingEverSucceeds: ten bad messages and nothing else are given up in the end, if they do not
// open the breaker.
func TestNothingEverSucceeds(t *testing.T) {
	s := newSimulation(8, 10*ms)
	s.messages, s.most = 9, 5
	s.fails = func(time.Duration, int) bool { return true }
	s.run(12 * time.Hour)
	if s.dead != 9 {
		t.Errorf("%d were given up, want 9", s.dead)
	}
}

// TestMostFail is where the rule has its limits: with 80 % failing it opens by chance where results
// are few. A probe of three messages would close it sooner, and cost each message of an outage three
// times the attempts, so it stays at one.
func TestMostFail(t *testing.T) {
	for _, handlers := range concurrencies {
		for _, service := range []time.Duration{20 * ms, sec} {
			r := rand.New(rand.NewPCG(7, 7))
			s := newSimulation(handlers, service)
			s.fails = func(time.Duration, int) bool { return r.Float64() < 0.8 }
			length := min(2*time.Hour, time.Duration(200_000/handlers)*service)
			s.run(length)
			possible := float64(handlers) * float64(length) / float64(service)
			got := float64(s.good+s.failed) / possible
			t.Logf("%d handlers, %v: %.2f of the throughput, opened %d times", handlers, service, got, len(s.opened))
			if got < 0.5 {
				t.Errorf("%d handlers, %v: %.2f of the throughput, opened %d times", handlers, service, got, len(s.opened))
			}
		}
	}
}
