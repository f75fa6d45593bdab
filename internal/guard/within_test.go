package guard

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

// TestWithin: what is returned in time, be it after the end of ctx, is the result.
func TestWithin(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var room Room
		for name, tt := range map[string]struct {
			f    func(context.Context) (int, error)
			want int
			err  error
		}{
			"at once":       {func(context.Context) (int, error) { return 1, nil }, 1, nil},
			"with an error": {func(context.Context) (int, error) { return 2, errUser }, 2, errUser},
			"obeys":         {func(ctx context.Context) (int, error) { <-ctx.Done(); return 3, ctx.Err() }, 3, context.DeadlineExceeded},
			"nearly obeys": {func(ctx context.Context) (int, error) {
				<-ctx.Done()
				time.Sleep(Patience - 1)
				return 4, nil
			}, 4, nil},
			"panics": {func(context.Context) (int, error) { panic(errPanic) }, 0, errPanic},
			"exits":  {func(context.Context) (int, error) { runtime.Goexit(); return 5, nil }, 0, ErrGoexit},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			v, err := Within(ctx, &room, func() (int, error) { return tt.f(ctx) }, func(int) { t.Error(name + " is late") })
			cancel()
			check.Want(t, name, v, tt.want)
			check.WantErr(t, name, err, tt.err)
			synctest.Wait()
			check.Want(t, name+": taken", room.Taken(), false)
		}
	})
}

// TestWithinHangs: a call that hangs is left behind, and no other is made in its room until it has
// returned. Its value is not lost.
func TestWithinHangs(t *testing.T) {
	for name, end := range map[string]func() (int, error){
		"returns": func() (int, error) { return 7, nil },
		"fails":   func() (int, error) { return 7, errUser },
		"panics":  func() (int, error) { panic(errPanic) },
		"exits":   func() (int, error) { runtime.Goexit(); return 7, nil },
	} {
		check.Bubble(t, name, func(t *testing.T) {
			var room Room
			release := make(chan struct{})
			var late check.Synced[int]
			within := func(f func() (int, error)) (v int, took time.Duration, err error) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				v, err = Within(ctx, &room, f, func(v int) { late.Add(v); panic(errPanic) })
				return v, time.Since(start), err
			}
			v, took, err := within(func() (int, error) { <-release; return end() })
			check.Want(t, "value", v, 0)
			check.Want(t, "error", err, ErrHangs)
			check.Want(t, "took", took, time.Second+Patience)
			for range 3 {
				_, took, err = within(func() (int, error) { t.Error("called"); return 0, nil })
				check.Want(t, "error of another", err, ErrHangs)
				check.Want(t, "took", took, time.Second)
			}
			check.Want(t, "taken", room.Taken(), true)
			time.AfterFunc(time.Second/2, func() { close(release) })
			v, took, err = within(func() (int, error) { return 8, nil })
			check.Want(t, "value of the next", v, 8)
			check.WantErr(t, "error of the next", err, nil)
			check.Want(t, "took", took, time.Second/2)
			if name == "returns" {
				check.Want(t, "late values", late.Len(), 1)
				check.Want(t, "late value", late.All()[0], 7)
			} else {
				check.Want(t, "late values", late.Len(), 0)
			}
		})
	}
}
