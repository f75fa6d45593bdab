package test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/observe"
)

// TestProcessAllocatesNothing: Process itself allocates nothing, whatever options surround the
// handler.
func TestProcessAllocatesNothing(t *testing.T) {
	pass := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error { return next(ctx, m) }
	}
	type key struct{}
	tests := map[string]struct {
		handle handler.Func[[]byte]
		opts   []nsqx.ConsumerOption
		most   float64
	}{
		"alone": {func(context.Context, []byte) error { return nil }, nil, 0},
		"with everything around": {func(context.Context, []byte) error { return nil }, opts(
			nsqx.WithMiddleware(pass, pass), nsqx.WithTelemetry(&telemetry{middleware: pass}), nsqx.WithHooks(observe.Hooks{OnSettle: func(*handler.Message) {}}),
			nsqx.WithMaxAttempts(5), nsqx.WithMaxAge(time.Hour), nsqx.WithDeadLetter("dead")), 0},
		"using its context": {func(ctx context.Context, _ []byte) error {
			_, _ = ctx.Deadline()
			_ = ctx.Value(key{})
			_ = handler.FromContext(ctx).ID
			return ctx.Err()
		}, nil, 0},
		"failing": {func(context.Context, []byte) error { return errBill }, nil, 1}, // for the outcome
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := nsqx.NewConsumer("orders", "billing", noCopy{}, tt.handle, append(tt.opts, nsqx.WithNSQD(nsqd1))...)
			if err != nil {
				t.Fatal(err)
			}
			const runs = 200
			src, body := newSource(t), []byte("body")
			id, _ := handler.ParseID(fake.ID(1))
			msgs := make([]handler.Message, runs+1)
			for i := range msgs {
				(*handler.Delivery)(&msgs[i]).Init(&handler.Read{Source: src, At: src.terms.Now()}, id, 1, 0, body)
			}
			i := 0
			got := testing.AllocsPerRun(runs, func() {
				m := &msgs[i]
				i++
				c.Process(m.Context(), m)
			})
			if got > tt.most {
				t.Errorf("%v allocations, want at most %v", got, tt.most)
			}
			if s := msgs[runs].Outcome().Disposition; (s == handler.Finish) != (tt.most == 0) {
				t.Errorf("outcome is %v", s)
			}
		})
	}
}

// TestMessagesAllocateLittle: from the socket to the answer, the steady state needs far less than
// one allocation a message.
func TestMessagesAllocateLittle(t *testing.T) {
	const batch, runs = 500, 20
	finished := make(chan struct{}, 1)
	start := make(chan struct{})
	frames := bytes.Repeat(fake.Message(1, fake.ID(1), 1, make([]byte, 200)), batch)
	addr := fake.Listen(t, func(p *fake.Peer) {
		p.Subscribe(nil)
		p.Expect("RDY")
		buf := make([]byte, 64<<10)
		for range start {
			p.Raw(frames)
			for left := batch * len("FIN 0123456789abcdef\n"); left > 0; {
				n, err := p.Conn.Read(buf)
				if err != nil {
					return
				}
				left -= n
			}
			finished <- struct{}{}
		}
	})
	c, err := nsqx.NewConsumer("orders", "billing", noCopy{}, func(context.Context, []byte) error { return nil },
		nsqx.WithNSQD(addr), nsqx.WithMaxInFlight(batch), nsqx.WithConcurrency(4), nsqx.WithLogger(discard))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(ctx)
	}()
	got := testing.AllocsPerRun(runs, func() {
		start <- struct{}{}
		<-finished
	})
	close(start) // ends nsqd
	cancel()
	<-ended
	if per := got / batch; per > 0.1 {
		t.Errorf("%.2f allocations a message, want at most 0.1", per)
	}
}
