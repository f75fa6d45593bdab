package conn_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// Tests of pubs.go with random traffic.

// TestRandomPublishes (I14) checks under random traffic, ended in a random way, that each publish
// gets exactly one answer, its own.
func TestRandomPublishes(t *testing.T) {
	for i := range 40 {
		seed := rand.Uint64()
		bubbles(t, fmt.Sprintf("seed %d (%d)", seed, i), func(t *testing.T) { randomPublishes(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

// publication is a Publish and its result.
type publication struct {
	body string
	ctx  context.Context
	err  error
}

func randomPublishes(t *testing.T, random *rand.Rand) {
	const publishers, each = 20, 15
	last := 1 + random.IntN(publishers*each) // the command that nsqd does not confirm
	refusal := []string{"", "E_BAD_TOPIC", "E_BAD_MESSAGE", "E_PUB_FAILED", "E_MPUB_FAILED"}[random.IntN(5)]
	s := publishing(t, conn.Config{})

	answered, refused := map[string]bool{}, map[string]bool{}
	peer := rand.New(rand.NewPCG(random.Uint64(), 1))
	var nsqd sync.WaitGroup
	nsqd.Go(func() {
		defer s.p.Close()
		for n := 1; ; n++ {
			cmd, err := s.p.Next()
			if err != nil {
				return
			}
			time.Sleep(rand.N(time.Duration(1+peer.IntN(3)) * time.Millisecond))
			if n == last {
				for _, body := range bodies(cmd) {
					refused[body] = true
				}
				if refusal != "" {
					s.p.Error(refusal)
				}
				return
			}
			for _, body := range bodies(cmd) {
				answered[body] = true
			}
			s.p.Response("OK")
			if peer.IntN(20) == 0 {
				s.p.Heartbeat()
				if cmd, err := s.p.Next(); err != nil || cmd.Name != "NOP" {
					for _, body := range bodies(cmd) { // a publish that was on its way; it is not answered
						refused[body] = true
					}
					return
				}
			}
		}
	})

	var all []*publication
	var mu sync.Mutex
	var publishing sync.WaitGroup
	for p := range publishers {
		random := rand.New(rand.NewPCG(random.Uint64(), 2))
		publishing.Go(func() {
			for i := range each {
				ctx, cancel := t.Context(), func() {}
				if random.IntN(4) == 0 {
					ctx, cancel = context.WithTimeout(ctx, rand.N(6*time.Millisecond))
				}
				x := &publication{body: fmt.Sprintf("%d/%d", p, i), ctx: ctx}
				msg := pub(fmt.Sprint("topic-", random.IntN(3)), x.body)
				msg.Alone = random.IntN(10) == 0
				if random.IntN(10) == 0 {
					msg.Delay = time.Second
				}
				x.err = s.Publish(ctx, msg)
				clear(msg.Bodies[0]) // Publish must not use it any more
				mu.Lock()
				all = append(all, x)
				mu.Unlock()
				cancel()
				if random.IntN(5) == 0 {
					time.Sleep(rand.N(2 * time.Millisecond))
				}
			}
		})
	}
	publishing.Wait()
	s.p.Close()
	nsqd.Wait()
	_ = s.wait()
	synctest.Wait()

	for _, x := range all {
		kind := kindOf(t, x.err)
		switch {
		case kind == nil && !answered[x.body]:
			t.Errorf("%s is confirmed, and nsqd has not", x.body)
		case kind == conn.ErrUnconfirmed:
		case kind != nil && answered[x.body]:
			t.Errorf("%s: nsqd has confirmed it, and Publish returned %v", x.body, x.err)
		case kind == conn.ErrRejected && !refused[x.body]:
			t.Errorf("%s: nsqd has not refused it, and Publish returned %v", x.body, x.err)
		}
	}
	if len(all) != publishers*each || s.Unanswered() != 0 {
		t.Errorf("%d of %d have returned, %d unanswered", len(all), publishers*each, s.Unanswered())
	}
}

// kindOf returns the only kind of an error, or nil.
func kindOf(t *testing.T, err error) error {
	t.Helper()
	if err == nil {
		return nil
	}
	of := slices.DeleteFunc(slices.Clone(kinds), func(kind error) bool { return !errors.Is(err, kind) })
	if len(of) != 1 {
		t.Fatalf("error is %v, of the kinds %v", err, of)
	}
	return of[0]
}
