package redrive

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/nsqx/nsqx/internal/guard"
)

const (
	// fresh is how long an answer is used again.
	fresh = 5 * time.Second

	// maxAnswers is from how many answers on old ones are forgotten: what is asked comes from headers.
	maxAnswers = 1024
)

// answers remembers answers for a while. Who asks the same meanwhile waits for the first answer. The
// zero value is ready to use.
type answers[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]*answer[V]
}

// answer is complete once done is closed.
type answer[V any] struct {
	done  chan struct{}
	at    time.Time // zero until done; guarded by answers.mu
	value V
	err   error
	void  bool // who asked has gone, which says nothing of the question
}

func (a *answer[V]) isOld() bool { return !a.at.IsZero() && time.Since(a.at) > fresh }

// get calls ask, in which there is user code, unless its answer is fresh. ask must return when ctx ends.
func (s *answers[K, V]) get(ctx context.Context, key K, ask func() (V, error)) (V, error) {
	for {
		a, mine := s.find(key)
		if mine {
			a.value, a.err = guard.IsolateValue(ask)
			s.complete(ctx, key, a)
			return a.value, a.err
		}
		select {
		case <-a.done:
			if !a.void {
				return a.value, a.err
			}
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
}

// find returns the answer to use. If it is mine, the caller must complete it.
func (s *answers[K, V]) find(key K) (a *answer[V], mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a = s.all[key]; a != nil && !a.isOld() {
		return a, false
	}
	if s.all == nil {
		s.all = make(map[K]*answer[V])
	}
	if len(s.all) >= maxAnswers {
		maps.DeleteFunc(s.all, func(_ K, a *answer[V]) bool { return a.isOld() })
	}
	a = &answer[V]{done: make(chan struct{})}
	s.all[key] = a
	return a, true
}

func (s *answers[K, V]) complete(ctx context.Context, key K, a *answer[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.at = time.Now()
	if a.void = ctx.Err() != nil; a.void {
		delete(s.all, key)
	}
	close(a.done)
}
