package handler_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/handler"
)

func TestPrintingShowsNoBody(t *testing.T) {
	var m handler.Message
	(*handler.Delivery)(&m).Init(&handler.Read{Source: newSource(t)}, testID, 7, 0, []byte("card number"))
	derived, cancel := context.WithCancel(m.Context())
	defer cancel()
	for _, v := range []any{&m, m.Context(), derived} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, "card") || strings.Contains(text, fmt.Sprint([]byte("card"))[1:10]) {
				t.Errorf("%s of a %T shows the body: %s", verb, v, text)
			}
			if !strings.Contains(text, testID.String()) && verb != "%#v" {
				t.Errorf("%s of a %T does not name the message: %s", verb, v, text)
			}
		}
	}
}

func TestFromContextOfNil(t *testing.T) {
	if m := handler.FromContext(handler.NewContext(t.Context(), nil)); m == nil || m.Topic() != "" {
		t.Errorf("got %v, want a zero Message", m)
	}
}

func TestDecodeErrorText(t *testing.T) {
	want(t, "text", (&handler.DecodeError{Err: handler.NewPanicError("boom")}).Error(), "nsqx: payload does not decode: panic: boom")
}
