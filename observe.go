package nsqx

import (
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

// Types of package observe that most services use.
type (
	Hooks          = observe.Hooks          // see [WithHooks]
	Telemetry      = observe.Telemetry      // see [WithTelemetry]
	Stats          = observe.Stats          // see [Consumer.Stats]
	PublisherStats = observe.PublisherStats // see [Publisher.Stats]
	ShutdownError  = observe.ShutdownError  // see [Consumer.Run]
	CloseError     = observe.CloseError     // see [Publisher.Shutdown]
	GraceError     = observe.GraceError     // see [Run]
)

// guardedTelemetry is telemetry that neither ends nor holds up the service that it observes.
type guardedTelemetry struct {
	t   Telemetry
	log *slog.Logger // does not panic
}

// observeTime is how long a method of telemetry may hold up a service.
const observeTime = 500 * time.Millisecond

func (g guardedTelemetry) Consumer(info observe.ConsumerInfo) handler.Middleware {
	return middlewareOf(g, "Consumer", func() handler.Middleware { return g.t.Consumer(info) })
}

func (g guardedTelemetry) Batch(info observe.ConsumerInfo) handler.BatchMiddleware {
	return middlewareOf(g, "Batch", func() handler.BatchMiddleware { return g.t.Batch(info) })
}

func (g guardedTelemetry) Producer(info observe.ProducerInfo) handler.SendMiddleware {
	return middlewareOf(g, "Producer", func() handler.SendMiddleware { return g.t.Producer(info) })
}

func (g guardedTelemetry) Hooks() Hooks {
	hooks, _ := attempt(g, "Hooks", func() Hooks { return g.t.Hooks() })
	return hooks
}

func (g guardedTelemetry) Observe(stats func() Stats) (stop func()) {
	return g.observe("Observe", func() func() { return g.t.Observe(stats) })
}

func (g guardedTelemetry) ObservePublisher(stats func() PublisherStats) (stop func()) {
	return g.observe("ObservePublisher", func() func() { return g.t.ObservePublisher(stats) })
}

// middlewareOf returns the middleware of a method. If it cannot be built, it is left out.
func middlewareOf[F any, M ~func(F) F](g guardedTelemetry, method string, f func() M) M {
	mw, _ := attempt(g, method, f)
	if mw == nil {
		return nil
	}
	return func(next F) F {
		if v, ok := attempt(g, "middleware of "+method, func() F { return mw(next) }); ok {
			return v
		}
		return next
	}
}

// observe calls a method that starts an observation. The function that it returns ends it.
func (g guardedTelemetry) observe(method string, start func() func()) (stop func()) {
	stops := make(chan func(), 1)
	g.within(method, func() {
		stop, _ := attempt(g, method, start)
		stops <- stop
	})
	return func() {
		g.within("stop function of "+method, func() {
			if stop := <-stops; stop != nil {
				_, _ = attempt(g, "stop function of "+method, func() struct{} { stop(); return struct{}{} })
			}
		})
	}
}

// within waits a little while for f, and leaves it behind after that.
func (g guardedTelemetry) within(what string, f func()) {
	if !guard.Returns(observeTime, f) {
		g.log.Error("nsqx: telemetry is not waited for any longer: its "+what+" has not returned", "waited_seconds", observeTime.Seconds())
	}
}

// attempt calls f, which may panic and call runtime.Goexit.
func attempt[T any](g guardedTelemetry, what string, f func() T) (v T, ok bool) {
	v, err := guard.IsolateValue(func() (T, error) { return f(), nil })
	if err != nil {
		g.log.Error("nsqx: telemetry observes less than it should: its "+what+" has failed", "error", err)
	}
	return v, err == nil
}
