package handler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func TestTyped(t *testing.T) {
	m := newSource(t).message("42")
	errBusy := errors.New("busy")
	calls := 0
	h := handler.Typed(decodeInt, func(ctx context.Context, v int) error {
		calls++
		check.Want(t, "value", v, 42)
		check.Want(t, "message", handler.FromContext(ctx), m)
		return errBusy
	})
	check.Want(t, "answer", h(m.Context(), m), errBusy)
	check.Want(t, "calls", calls, 1)
}

// Typed decodes the body that middleware passes on, not the original.
func TestTypedDecodesTheBodyPassedOn(t *testing.T) {
	m := newSource(t).message("sealed")
	got := 0
	h := handler.Typed(decodeInt, func(ctx context.Context, v int) error {
		got = v
		check.Want(t, "message", handler.FromContext(ctx), m)
		return nil
	})
	wantErr(t, "answer", h(m.Context(), m.WithBody([]byte("7"))), nil)
	check.Want(t, "value", got, 7)
}

func TestDecodeError(t *testing.T) {
	h := handler.Typed(decodeInt, func(context.Context, int) error {
		t.Error("the handler was called")
		return nil
	})
	m := newSource(t).message("many")
	err := h(m.Context(), m)
	var de *handler.DecodeError
	if !errors.As(err, &de) {
		t.Fatalf("got %v, want a DecodeError", err)
	}
	wantErr(t, "the codec's error", err, strconv.ErrSyntax)
	check.Want(t, "text", err.Error(), "nsqx: payload does not decode: "+de.Err.Error())
	check.Want(t, "Unwrap", de.Unwrap(), de.Err)
}

func TestDecodeErrorText(t *testing.T) {
	check.Want(t, "text", (&handler.DecodeError{Err: handler.NewPanicError("boom")}).Error(), "nsqx: payload does not decode: panic: boom")
}

func brokenDecoder(body []byte) (int, error) { panic(io.ErrUnexpectedEOF) }

func TestDecoderPanics(t *testing.T) {
	h := handler.Typed(decoderFunc[int](brokenDecoder), func(context.Context, int) error {
		t.Error("the handler was called")
		return nil
	})
	m := newSource(t).message("body")
	err := h(m.Context(), m)
	var de *handler.DecodeError
	var pe *handler.PanicError
	if !errors.As(err, &de) || !errors.As(err, &pe) {
		t.Fatalf("got %v, want a PanicError in a DecodeError", err)
	}
	check.Want(t, "wrapped directly", de.Err, error(pe))
	wantErr(t, "the value", err, io.ErrUnexpectedEOF)
	if !bytes.Contains(pe.Stack, []byte("brokenDecoder")) {
		t.Errorf("the stack does not name the function that panicked:\n%s", pe.Stack)
	}
}

// Typed recovers from a panic of the decoder only.
func TestTypedDoesNotRecoverTheHandler(t *testing.T) {
	h := handler.Typed(decodeInt, func(context.Context, int) error { panic("boom") })
	defer func() { check.Want(t, "panic", recover(), any("boom")) }()
	err := h(context.Background(), newSource(t).message("42"))
	t.Errorf("got %v, want a panic", err)
}

func TestPanicError(t *testing.T) {
	wrapped := fmt.Errorf("reading: %w", io.EOF)
	for name, c := range map[string]struct {
		value any
		text  string
		is    error // nil: Unwrap returns nil
	}{
		"a string": {"boom", "nsqx: panic: boom", nil},
		"a number": {42, "nsqx: panic: 42", nil},
		"an error": {wrapped, "nsqx: panic: reading: EOF", io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			var err *handler.PanicError
			func() {
				defer func() { err = handler.NewPanicError(recover()) }()
				panicWith(c.value)
			}()
			check.Want(t, "Value", err.Value, c.value)
			check.Want(t, "text", err.Error(), c.text)
			check.Want(t, "Unwrap returns nil", err.Unwrap() == nil, c.is == nil)
			if c.is != nil {
				wantErr(t, "chain", err, c.is)
			}
			if !strings.Contains(string(err.Stack), "panicWith") {
				t.Errorf("the stack does not name the function that panicked:\n%s", err.Stack)
			}
		})
	}
}

func panicWith(v any) { panic(v) }
