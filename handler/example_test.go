package handler_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// Order is what the handlers of these examples handle.
type Order struct {
	ID     int `json:"id"`
	Amount int `json:"amount"`
}

// jsonOrder stands for a codec of package codec.
type jsonOrder struct{}

func (jsonOrder) Decode(body []byte) (o Order, err error) {
	err = json.Unmarshal(body, &o)
	return o, err
}

func ExampleFunc() {
	var bill handler.Func[Order] = func(ctx context.Context, o Order) error {
		if o.Amount <= 0 {
			return errors.New("nothing to bill")
		}
		fmt.Println("billed order", o.ID)
		return nil
	}
	fmt.Println(bill(context.Background(), Order{ID: 7, Amount: 100}))
	fmt.Println(bill(context.Background(), Order{ID: 8}))
	// Output:
	// billed order 7
	// <nil>
	// nothing to bill
}

// A handler takes its value; what else there is to know about the message is
// in the context.
func ExampleFromContext() {
	bill := func(ctx context.Context, o Order) error {
		m := handler.FromContext(ctx)
		fmt.Printf("order %d of topic %s, attempt %d\n", o.ID, m.Topic(), m.Attempts)
		return nil
	}

	m := newLocalSource(context.Background()).deliver(`{"id":7}`)
	_ = bill(m.Context(), Order{ID: 7})
	// Output:
	// order 7 of topic orders, attempt 1
}

// Outside a handler there is a zero Message: nothing to check for nil.
func ExampleFromContext_outside() {
	m := handler.FromContext(context.Background())
	fmt.Printf("%q %q %d\n", m.Topic(), m.ID, m.Attempts)
	// Output:
	// "" "" 0
}

// A test of a handler that reads metadata needs no consumer and no network.
func ExampleNewContext() {
	giveUpEarly := func(ctx context.Context, o Order) error {
		if handler.FromContext(ctx).Attempts > 3 {
			return errors.New("enough")
		}
		return nil
	}

	ctx := handler.NewContext(context.Background(), &handler.Message{Attempts: 4})
	fmt.Println(giveUpEarly(ctx, Order{}))
	// Output:
	// enough
}

func announce(name string) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			fmt.Println(name, "before")
			err := next(ctx, m)
			fmt.Println(name, "after:", err)
			return err
		}
	}
}

// The first is the outermost: it sees a message first and its result last.
func ExampleChain() {
	mw := handler.Chain(announce("outer"), nil, announce("inner"))
	h := mw(func(context.Context, *handler.Message) error {
		fmt.Println("handling")
		return errors.New("busy")
	})
	_ = h(context.Background(), new(handler.Message))
	// Output:
	// outer before
	// inner before
	// handling
	// inner after: busy
	// outer after: busy
}

// What needs the decoded value decorates the typed handler.
func ExampleWrap() {
	validate := func(next handler.Func[Order]) handler.Func[Order] {
		return func(ctx context.Context, o Order) error {
			if o.Amount < 0 {
				return fmt.Errorf("order %d: negative amount", o.ID)
			}
			return next(ctx, o)
		}
	}
	bill := handler.Wrap(func(ctx context.Context, o Order) error {
		fmt.Println("billed order", o.ID)
		return nil
	}, validate)

	fmt.Println(bill(context.Background(), Order{ID: 7, Amount: 100}))
	fmt.Println(bill(context.Background(), Order{ID: 8, Amount: -1}))
	// Output:
	// billed order 7
	// <nil>
	// order 8: negative amount
}

// The work goes on after the function has returned; done is the answer.
func ExampleAsync() {
	bill := handler.Async(func(ctx context.Context, o Order, done func(error)) {
		go func() {
			if o.Amount > 1000 {
				done(errors.New("card declined"))
				return
			}
			done(nil)
		}()
	})
	fmt.Println(bill(context.Background(), Order{ID: 7, Amount: 100}))
	fmt.Println(bill(context.Background(), Order{ID: 8, Amount: 5000}))
	// Output:
	// <nil>
	// card declined
}

// Decoding is the innermost step, and a payload that does not decode is an
// error like any other to the middleware around it.
func ExampleTyped() {
	h := handler.Typed(jsonOrder{}, func(ctx context.Context, o Order) error {
		fmt.Println("billed order", o.ID)
		return nil
	})
	s := newLocalSource(context.Background())

	for _, body := range []string{`{"id":7}`, `{"id":"seven"}`} {
		m := s.deliver(body)
		err := h(m.Context(), m)

		var undecodable *handler.DecodeError
		fmt.Println("does not decode:", errors.As(err, &undecodable))
	}
	// Output:
	// billed order 7
	// does not decode: false
	// does not decode: true
}

// A middleware that changes what will be decoded. A dead letter still carries
// the body as it came.
func ExampleMessage_WithBody() {
	unpack := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			body, err := base64.StdEncoding.DecodeString(string(m.Body))
			if err != nil {
				return &handler.DecodeError{Err: err}
			}
			return next(ctx, m.WithBody(body))
		}
	}
	h := unpack(handler.Typed(jsonOrder{}, func(ctx context.Context, o Order) error {
		fmt.Println("billed order", o.ID)
		return nil
	}))

	m := newLocalSource(context.Background()).deliver("eyJpZCI6N30=")
	fmt.Println(h(m.Context(), m))
	fmt.Printf("%s\n", m.Body)
	// Output:
	// billed order 7
	// <nil>
	// eyJpZCI6N30=
}

// A body is lent for the call.
func ExampleMessage_body() {
	var kept []byte
	keep := func(_ context.Context, m *handler.Message) error {
		kept = bytes.Clone(m.Body)
		return nil
	}
	m := newLocalSource(context.Background()).deliver("42")
	_ = keep(m.Context(), m)
	(*handler.Delivery)(m).Release() // the consumer does this

	fmt.Printf("%q %q\n", m.Body, kept)
	// Output:
	// "" "42"
}

// Work that takes longer than the message timeout says so, step by step.
func ExampleMessage_Touch() {
	export := func(ctx context.Context, parts []string) error {
		m := handler.FromContext(ctx)
		for _, part := range parts {
			fmt.Println("exporting", part)
			if err := m.Touch(); err != nil {
				return err
			}
		}
		return nil
	}

	m := newLocalSource(context.Background()).deliver("…")
	fmt.Println(export(m.Context(), []string{"january", "february"}))
	// Output:
	// exporting january
	// TOUCH 0f9c3a7e5b1d2846
	// exporting february
	// TOUCH 0f9c3a7e5b1d2846
	// <nil>
}

// The cause says why a handler should stop.
func ExampleMessage_Context() {
	wait := func(ctx context.Context) error {
		select {
		case <-time.After(time.Hour):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}

	conn, end := context.WithCancelCause(context.Background())
	m := newLocalSource(conn).deliver("42")
	end(handler.ErrShutdown) // the consumer does this when its shutdown timeout is over

	err := wait(m.Context())
	fmt.Println(err)
	fmt.Println(errors.Is(err, handler.ErrShutdown))
	fmt.Println(errors.Is(handler.ErrMessageTimeout, context.DeadlineExceeded))
	// Output:
	// nsqx: consumer is shutting down
	// true
	// true
}

// A message in a log is its metadata, never its body.
func ExampleMessage_LogValue() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	m := newLocalSource(context.Background()).deliver("s3cret")
	logger.Info("billing", "message", m)
	// Output:
	// level=INFO msg=billing message.id=0f9c3a7e5b1d2846 message.topic=orders message.channel=billing message.nsqd=127.0.0.1:4150 message.attempts=1
}

func ExampleMessage_Outcome() {
	m := newLocalSource(context.Background()).deliver("42")
	fmt.Println(m.Outcome().Disposition)

	// The consumer decides, after the handler has returned.
	(*handler.Delivery)(m).SetOutcome(handler.Outcome{Disposition: handler.Requeue, Delay: 2 * time.Second, Err: errors.New("busy")})

	out := m.Outcome()
	fmt.Println(out.Disposition, out.Delay, out.Err)
	// Output:
	// pending
	// requeue 2s busy
}

func ExampleParseID() {
	id, err := handler.ParseID("0f9c3a7e5b1d2846")
	fmt.Println(id, err)

	_, err = handler.ParseID("42")
	fmt.Println(err)
	// Output:
	// 0f9c3a7e5b1d2846 <nil>
	// nsqx: message id "42" has 2 characters, want 16 hexadecimal ones
}

func ExampleID_MarshalText() {
	id, _ := handler.ParseID("0f9c3a7e5b1d2846")
	out, _ := json.Marshal(map[string]any{"message": id})
	fmt.Println(string(out))
	// Output:
	// {"message":"0f9c3a7e5b1d2846"}
}

// A codec that panics is an error with the stack of the panic.
func ExamplePanicError() {
	h := handler.Typed(decoderFunc[Order](func([]byte) (Order, error) {
		panic("index out of range")
	}), func(context.Context, Order) error { return nil })

	m := newLocalSource(context.Background()).deliver("42")
	err := h(m.Context(), m)

	var p *handler.PanicError
	if errors.As(err, &p) {
		fmt.Println(p)
		fmt.Println("has its stack:", strings.Contains(string(p.Stack), "ExamplePanicError"))
	}
	// Output:
	// nsqx: panic: index out of range
	// has its stack: true
}

// NewPanicError is for those who recover themselves.
func ExampleNewPanicError() {
	guard := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = handler.NewPanicError(p)
				}
			}()
			return next(ctx, m)
		}
	}
	h := guard(func(context.Context, *handler.Message) error { panic(errors.ErrUnsupported) })

	err := h(context.Background(), new(handler.Message))
	fmt.Println(err)
	fmt.Println(errors.Is(err, errors.ErrUnsupported))
	// Output:
	// nsqx: panic: unsupported operation
	// true
}
