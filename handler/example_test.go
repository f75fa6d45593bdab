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

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

func ExampleFunc() {
	type Order struct{ ID, Amount int }
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

// A handler gets its value; the message is in the context.
func ExampleFromContext() {
	type Order struct{ ID int }
	bill := func(ctx context.Context, o Order) error {
		m := handler.FromContext(ctx)
		fmt.Printf("order %d of topic %s, attempt %d\n", o.ID, m.Topic(), m.Attempts)
		return nil
	}

	m := nsqxtest.Message(nil, nsqxtest.WithTopic("orders", "billing"))
	_ = bill(m.Context(), Order{ID: 7})
	// Output:
	// order 7 of topic orders, attempt 1
}

// Outside a handler the message is zero: there is no need to check for nil.
func ExampleFromContext_outside() {
	m := handler.FromContext(context.Background())
	fmt.Printf("%q %q %d\n", m.Topic(), m.ID, m.Attempts)
	// Output:
	// "" "" 0
}

// A test of a handler that reads metadata needs no consumer and no network.
func ExampleNewContext() {
	giveUpEarly := func(ctx context.Context, order int) error {
		if handler.FromContext(ctx).Attempts > 3 {
			return errors.New("enough")
		}
		return nil
	}

	ctx := handler.NewContext(context.Background(), &handler.Message{Attempts: 4})
	fmt.Println(giveUpEarly(ctx, 7))
	// Output:
	// enough
}

// The first middleware is the outermost: it sees a message first and the result last.
func ExampleChain() {
	announce := func(name string) handler.Middleware {
		return func(next handler.Raw) handler.Raw {
			return func(ctx context.Context, m *handler.Message) error {
				fmt.Println(name, "before")
				err := next(ctx, m)
				fmt.Println(name, "after:", err)
				return err
			}
		}
	}
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

// Middleware of a batch sees all of its messages.
func ExampleChainBatch() {
	count := func(next handler.RawBatch) handler.RawBatch {
		return func(ctx context.Context, msgs []*handler.Message) error {
			err := next(ctx, msgs)
			fmt.Println(len(msgs), "messages:", err)
			return err
		}
	}
	h := handler.ChainBatch(count)(func(ctx context.Context, msgs []*handler.Message) error {
		for _, m := range msgs {
			fmt.Printf("inserting %s\n", m.Body)
		}
		return nil
	})
	msgs := []*handler.Message{nsqxtest.Message([]byte("a")), nsqxtest.Message([]byte("b"))}
	_ = h(context.Background(), msgs)
	// Output:
	// inserting a
	// inserting b
	// 2 messages: <nil>
}

// A decorator of the typed handler sees the decoded value.
func ExampleWrap() {
	type Order struct{ ID, Amount int }
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

// The work continues after the function has returned; done is the answer.
func ExampleAsync() {
	charge := handler.Async(func(ctx context.Context, amount int, done func(error)) {
		go func() {
			if amount > 1000 {
				done(errors.New("card declined"))
				return
			}
			done(nil)
		}()
	})
	fmt.Println(charge(context.Background(), 100))
	fmt.Println(charge(context.Background(), 5000))
	// Output:
	// <nil>
	// card declined
}

// Decoding is the innermost step. To middleware, a payload that does not decode is an error like
// any other.
func ExampleTyped() {
	type Order struct{ ID int }
	h := handler.Typed(codec.JSON[Order](), func(ctx context.Context, o Order) error {
		fmt.Println("billed order", o.ID)
		return nil
	})

	for _, body := range []string{`{"ID":7}`, `{"ID":"seven"}`} {
		m := nsqxtest.Message([]byte(body))
		err := h(m.Context(), m)

		var undecodable *handler.DecodeError
		fmt.Println("does not decode:", errors.As(err, &undecodable))
	}
	// Output:
	// billed order 7
	// does not decode: false
	// does not decode: true
}

// Middleware may change what is decoded. A dead letter still carries the original body.
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
	h := unpack(func(ctx context.Context, m *handler.Message) error {
		fmt.Printf("handling %s\n", m.Body)
		return nil
	})

	m := nsqxtest.Message([]byte("eyJpZCI6N30="))
	fmt.Println(h(m.Context(), m))
	fmt.Printf("%s\n", m.Body)
	// Output:
	// handling {"id":7}
	// <nil>
	// eyJpZCI6N30=
}

// A body is valid until the message is settled.
func ExampleMessage_body() {
	var kept []byte
	keep := func(_ context.Context, m *handler.Message) error {
		kept = bytes.Clone(m.Body)
		return nil
	}
	m := nsqxtest.Message([]byte("42"))
	_ = keep(m.Context(), m)
	(*handler.Delivery)(m).Release() // done by the consumer

	fmt.Printf("%q %q\n", m.Body, kept)
	// Output:
	// "" "42"
}

// Work that takes longer than the message timeout touches its message after each step.
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

	m := nsqxtest.Message(nil, nsqxtest.WithTouch(func() error {
		fmt.Println("TOUCH")
		return nil
	}))
	fmt.Println(export(m.Context(), []string{"january", "february"}))
	// Output:
	// exporting january
	// TOUCH
	// exporting february
	// TOUCH
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

	ctx, cancel := context.WithCancelCause(context.Background())
	m := nsqxtest.Message(nil, nsqxtest.WithContext(ctx))
	cancel(handler.ErrShutdown) // done by the consumer after its shutdown timeout

	err := wait(m.Context())
	fmt.Println(err)
	fmt.Println(errors.Is(err, handler.ErrShutdown))
	fmt.Println(errors.Is(handler.ErrMessageTimeout, context.DeadlineExceeded))
	// Output:
	// nsqx: consumer is shutting down
	// true
	// true
}

// nsqd certainly waits until Deadline. The handler's context ends a little earlier, so that the
// answer still arrives.
func ExampleMessage_Deadline() {
	m := nsqxtest.Message(nil)

	if deadline, ok := m.Deadline(); ok {
		fmt.Println("answer within", deadline.Sub(m.Received()))
	}
	if latest, ok := m.Context().Deadline(); ok {
		fmt.Println("however often it is touched, within", latest.Sub(m.Received()))
	}
	// Output:
	// answer within 59.75s
	// however often it is touched, within 15m0s
}

// A log shows the metadata of a message, never its body.
func ExampleMessage_LogValue() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	m := nsqxtest.Message([]byte("s3cret"), nsqxtest.WithTopic("orders", "billing"))
	logger.Info("billing", "message", m)
	// Output:
	// level=INFO msg=billing message.id=0000000000000001 message.topic=orders message.channel=billing message.nsqd="" message.attempts=1
}

func ExampleMessage_Outcome() {
	m := nsqxtest.Message(nil)
	fmt.Println(m.Outcome().Disposition)

	// The consumer decides after the handler has returned.
	(*handler.Delivery)(m).SetOutcome(handler.Outcome{
		Disposition: handler.Requeue, Delay: 2 * time.Second, Err: errors.New("busy"),
	})

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

// A panic of a codec is an error with the stack of the panic.
func ExamplePanicError() {
	broken := codec.Func(
		func(dst []byte, v int) ([]byte, error) { return dst, nil },
		func([]byte) (int, error) { panic("index out of range") },
	)
	h := handler.Typed(broken, func(context.Context, int) error { return nil })

	m := nsqxtest.Message([]byte("42"))
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

// Code that recovers by itself makes the same error.
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
