package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

var errEnd = errors.New("the end")

// TestWithin: a service learns from its ctx, and from those made of it, how long it may take.
func TestWithin(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		type key struct{}
		ctx, cancel := context.WithCancelCause(context.Background())
		inner, stop := context.WithCancel(context.WithValue(ctx, key{}, 1))
		defer stop()
		check.Want(t, "before the end", Within(inner, time.Minute, time.Second), time.Minute)
		cancel(&Draining{By: time.Now().Add(20 * time.Second), Err: errEnd})
		check.Want(t, "cut", Within(inner, time.Minute, 2*time.Second), 18*time.Second)
		check.Want(t, "short enough", Within(inner, 5*time.Second, 2*time.Second), 5*time.Second)
		check.WantErr(t, "cause", context.Cause(inner), errEnd)
		time.Sleep(19 * time.Second)
		check.Want(t, "no time left", Within(inner, time.Minute, 2*time.Second), 0)
	})
}

// TestPhases: a phase ends when the one before has, or its time is over; all within the grace.
func TestPhases(t *testing.T) {
	for name, tt := range map[string]struct {
		takes [3]time.Duration // of the services of each phase, after their ctx has ended
		ends  [3]time.Duration // when their ctx ends, from the start of the end
		took  time.Duration
		left  int // services
	}{
		"quick":      {[3]time.Duration{time.Second, 2 * time.Second, 3 * time.Second}, [3]time.Duration{0, time.Second, 3 * time.Second}, 6 * time.Second, 0},
		"first hang": {[3]time.Duration{time.Hour, time.Second, time.Second}, [3]time.Duration{0, 17 * time.Second, 17 * time.Second}, 20 * time.Second, 1},
		"last hangs": {[3]time.Duration{time.Second, time.Second, time.Hour}, [3]time.Duration{0, time.Second, 2 * time.Second}, 20 * time.Second, 1},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			var began time.Time
			var ends [3]time.Duration
			g := Group{Grace: 20 * time.Second, Log: slog.New(slog.DiscardHandler)}
			for phase := range 3 {
				g.Services = append(g.Services, Service{Name: name, Phase: phase, Run: func(ctx context.Context) error {
					<-ctx.Done()
					ends[phase] = time.Since(began)
					check.WantErr(t, "cause", context.Cause(ctx), errEnd)
					time.Sleep(tt.takes[phase])
					return nil
				}})
			}
			time.AfterFunc(time.Minute, func() {
				began = time.Now()
				cancel(errEnd)
			})
			err := g.Run(ctx)
			check.Want(t, "took", time.Since(began), tt.took)
			check.Want(t, "names the left ones", errors.Is(err, context.DeadlineExceeded), tt.left > 0)
			check.Want(t, "ends", ends, tt.ends)
			time.Sleep(time.Hour) // until those that were left behind have returned
		})
	}
}
