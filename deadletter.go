package nsqx

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// deadLetterTimeout is how long a dead letter may take to be confirmed.
const deadLetterTimeout = 30 * time.Second

// deadLetter hands a message to where the given up ones go, and returns nil
// when it is safe there. The message is touched meanwhile. ctx gives its values
// only: it may have ended with the handler's.
func (e *engine) deadLetter(ctx context.Context, m *handler.Message, cause error) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(e.settling, func() { cancel(context.Cause(e.settling)) })()

	defer keepTouched(m)()
	if fn := e.cfg.deadLetterFunc; fn != nil {
		return fn(ctx, m, cause)
	}
	ctx, stop := context.WithTimeout(ctx, deadLetterTimeout)
	defer stop()
	pub := conn.Pub{Topic: e.cfg.deadLetterTopic, Bodies: [][]byte{m.Body}}
	var asked string
	return e.publishing.one(ctx, &pub, m.NSQD(), &asked)
}

// keepTouched touches m now and each third of its message timeout, until stop
// is called.
func keepTouched(m *handler.Message) (stop func()) {
	if m.Touch() != nil || m.Source().Terms().MessageTimeout <= 0 {
		return func() {}
	}
	every := m.Source().Terms().MessageTimeout / 3
	ticker := time.NewTicker(every)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ticker.C:
				if m.Touch() != nil {
					return
				}
			case <-quit:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(quit)
		<-done
	}
}
