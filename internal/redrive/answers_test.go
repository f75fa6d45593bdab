package redrive

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

// TestAnswers: who asks the same together gets the same answer, and an answer is used for a while.
func TestAnswers(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var s answers[string, int]
		asked := 0
		slowly := func() (int, error) { asked++; time.Sleep(time.Second); return asked, errors.ErrUnsupported }
		var asking sync.WaitGroup
		for range 3 {
			asking.Go(func() {
				n, err := s.get(t.Context(), "a", slowly)
				check.Want(t, "answer", n, 1)
				check.WantErr(t, "error", err, errors.ErrUnsupported)
			})
		}
		asking.Wait()
		time.Sleep(fresh)
		n, _ := s.get(t.Context(), "a", slowly)
		check.Want(t, "answer", n, 1)
		time.Sleep(time.Nanosecond)
		n, _ = s.get(t.Context(), "a", slowly)
		check.Want(t, "later answer", n, 2)
		n, _ = s.get(t.Context(), "b", slowly)
		check.Want(t, "other answer", n, 3)
	})
}

// TestAnswersOfWhoHasGone: an asker whose ctx ends takes nothing from the others.
func TestAnswersOfWhoHasGone(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var s answers[string, int]
		ask := func(ctx context.Context) func() (int, error) {
			return func() (int, error) {
				select {
				case <-time.After(2 * time.Second):
					return 1, nil
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			}
		}
		get := func(ctx context.Context) (int, error) { return s.get(ctx, "a", ask(ctx)) }
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var asking sync.WaitGroup
		asking.Go(func() {
			_, err := get(short)
			check.WantErr(t, "first", err, context.DeadlineExceeded)
		})
		synctest.Wait()
		asking.Go(func() {
			_, err := get(short)
			check.WantErr(t, "second", err, context.DeadlineExceeded)
		})
		n, err := get(t.Context())
		check.Want(t, "third", n, 1)
		check.WantErr(t, "third", err, nil)
		asking.Wait()
	})
}

// TestAnswersAreBounded: old ones are forgotten.
func TestAnswersAreBounded(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var s answers[int, int]
		for i := range 10 * maxAnswers {
			_, _ = s.get(t.Context(), i, func() (int, error) { return i, nil })
			time.Sleep(fresh / maxAnswers * 2)
		}
		if n := len(s.all); n > maxAnswers {
			t.Errorf("%d answers are kept", n)
		}
	})
}
