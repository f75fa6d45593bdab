// Command middleware shows middleware of handlers and of publishes, with an nsqd in its own
// process. It needs no arguments, and nothing needs to be installed:
//
//	go run ./examples/middleware
//
// It delivers parcels, and publishes a notice for each. It prints the paths of the first two
// through the middleware.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/examples/internal/embedded"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

// Parcel is the payload of the topic parcels.
type Parcel struct {
	ID    int     `json:"id"`
	To    string  `json:"to"`
	Kilos float64 `json:"kilos"`
}

// Validate returns an error if the parcel cannot be delivered.
func (p Parcel) Validate() error {
	if p.Kilos <= 0 {
		return fmt.Errorf("a parcel of %v kg", p.Kilos)
	}
	return nil
}

// Notice is the payload of the topic notices: a parcel was delivered.
type Notice struct {
	Parcel int `json:"parcel"`
}

const customs = 100 * time.Millisecond // time that customs need for one parcel

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "middleware:", err)
		os.Exit(1)
	}
}

// run is the program.
func run(ctx context.Context, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not done after 30 s"))
	defer cancel()
	d, exit, err := embedded.NSQD()
	if err != nil {
		return fmt.Errorf("start nsqd: %w", err)
	}
	defer func() { err = errors.Join(err, exit()) }()

	l := log.New(out, "  ", 0)
	settled := make(chan int, 32)
	p, err := newPost(l, settled, nsqx.WithNSQD(d.RealTCPAddr().String()), nsqx.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.publisher.Close()) }()

	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- nsqx.Run(running, p.deliveries, p.notices) }()
	err = p.work(ctx, settled)
	stop()
	if err = errors.Join(err, <-ended); err != nil {
		return err
	}
	s := p.deliveries.Stats() // exact, since Run has returned
	p.Printf("\n  ✓ %d parcels delivered, %d retried, %d given up", s.Finished, s.Requeued, s.DeadLettered)
	return nil
}

// work publishes parcels and waits until they are settled.
func (p *post) work(ctx context.Context, settled <-chan int) error {
	shown := handler.WithHeader(ctx, "show", "yes")
	p.Println("the path of parcel 1 through the chain and back:")
	if err := errors.Join(p.post(shown, Parcel{1, "Berlin", 2}, "DE"), wait(ctx, settled, 2)); err != nil {
		return err
	}
	p.Println("\n  parcel 2 goes abroad, so it also passes the limit:")
	if err := errors.Join(p.post(shown, Parcel{2, "Oslo", 2}, "NO"), wait(ctx, settled, 2)); err != nil {
		return err
	}
	p.Printf("\n  more parcels; customs let one pass every %v:", customs)
	err := errors.Join(
		p.post(ctx, Parcel{3, "Bern", 0.5}, "CH"),
		p.post(ctx, Parcel{4, "Oslo", 12}, "NO"),
		p.post(ctx, Parcel{5, "London", 1}, "GB"),
		p.post(ctx, Parcel{6, "Hamburg", 1}, "DE"),
		p.post(ctx, Parcel{7, "Atlantis", 3}, "DE"),
		p.post(ctx, Parcel{8, "Munich", 0}, "DE"),
	)
	return errors.Join(err, wait(ctx, settled, 11)) // parcel 8 has no notice
}

// post delivers parcels and sends notices.
type post struct {
	*log.Logger
	start      time.Time
	publisher  *nsqx.Publisher // shared by the two producers
	parcels    *nsqx.Producer[Parcel]
	sent       *nsqx.Producer[Notice]
	deliveries *nsqx.Consumer[Parcel]
	notices    *nsqx.Consumer[Notice]
	settled    chan<- int
}

func newPost(l *log.Logger, settled chan<- int, opts ...nsqx.Option) (p *post, err error) {
	p = &post{Logger: l, start: time.Now(), settled: settled}
	s := show{l}
	both := nsqx.WithOptions(opts...)

	// The first is the outermost. Typed decorators run inside untyped middleware, since the payload
	// is decoded between them.
	p.deliveries, err = nsqx.NewConsumer("parcels", "delivery", codec.JSON[Parcel](),
		handler.Wrap(p.deliver,
			typed(s, "valid", valid[Parcel]),
			typed[Parcel](s, "deliver", nil),
		),
		nsqx.WithMiddleware(
			s.raw("log", middleware.Log(logger(l))),
			middleware.Only(abroad, s.raw("limit, only abroad", limit(customs))),
			s.raw("timeout", middleware.Timeout(500*time.Millisecond)), // inside the limit, so waiting does not count
		),
		both,
		nsqx.WithConcurrency(8),
		nsqx.WithRetry(retry.Schedule(100*time.Millisecond)),
		nsqx.WithDeadLetter("parcels.dead"),
		nsqx.WithHooks(nsqx.Hooks{OnSettle: p.onSettle}),
	)
	if err != nil {
		return nil, err
	}
	if p.notices, err = nsqx.NewConsumer("notices", "mail", codec.JSON[Notice](), p.mail, both); err != nil {
		return nil, err
	}

	// Middleware of the publisher runs outside that of its producers.
	p.publisher, err = nsqx.NewPublisher(both, nsqx.WithEnvelope(), nsqx.WithSendMiddleware(s.send("stamp", stamp("depot 1"))))
	if err != nil {
		return nil, err
	}
	p.parcels, err = nsqx.NewProducer("parcels", codec.JSON[Parcel](), nsqx.WithPublisher(p.publisher))
	if err != nil {
		return nil, err
	}
	p.sent, err = nsqx.NewProducer("notices", codec.JSON[Notice](), nsqx.WithPublisher(p.publisher),
		nsqx.WithSendMiddleware(s.send("forward", handler.Forward("request"))))
	return p, err
}

// post publishes a parcel, with headers for data that is not part of the payload.
func (p *post) post(ctx context.Context, v Parcel, country string) error {
	ctx = handler.WithHeader(ctx, "country", country)
	ctx = handler.WithHeader(ctx, "request", fmt.Sprintf("r-%d", v.ID))
	return p.parcels.Publish(ctx, v)
}

func abroad(m *handler.Message) bool { return m.Header("country") != "DE" }

// deliver is the innermost handler.
func (p *post) deliver(ctx context.Context, v Parcel) error {
	if v.To == "Atlantis" && handler.FromContext(ctx).Attempts == 1 {
		<-ctx.Done() // it searches for the address until the timeout
		return context.Cause(ctx)
	}
	if handler.FromContext(ctx).Header("show") == "" {
		p.Printf("%4d ms  ✓ parcel %d is in %s", time.Since(p.start).Milliseconds(), v.ID, v.To)
	}
	return p.sent.Publish(ctx, Notice{Parcel: v.ID}) // Forward finds the message in ctx
}

// mail handles a notice. Its header request was set when the parcel was published, two topics
// earlier.
func (p *post) mail(ctx context.Context, n Notice) error {
	m := handler.FromContext(ctx)
	p.Printf("%4d ms  ✉ parcel %d was delivered (request %s, from %s)",
		time.Since(p.start).Milliseconds(), n.Parcel, m.Header("request"), m.Header("origin"))
	p.settled <- n.Parcel
	return nil
}

// onSettle is a hook, called with the outcome of each message.
func (p *post) onSettle(m *handler.Message) {
	if d := m.Outcome().Disposition; d == handler.Finish || d == handler.DeadLetter {
		p.settled <- 0
	}
}

// logger returns a logger that prints only the message, the attempts and the error.
func logger(l *log.Logger) *slog.Logger {
	return slog.New(slog.NewTextHandler(writer{l}, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if slices.Contains([]string{slog.MessageKey, "msg.attempts", "error"}, a.Key) {
				return a
			}
			return slog.Attr{}
		},
	}))
}

// writer indents the lines of slog.
type writer struct{ *log.Logger }

func (w writer) Write(line []byte) (int, error) {
	return len(line), w.Output(2, "         "+string(line))
}

// wait waits until n more parcels or notices are settled.
func wait(ctx context.Context, settled <-chan int, n int) error {
	for range n {
		select {
		case <-settled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx) // nil, if it was not cancelled
}
