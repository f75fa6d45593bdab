// Tests of shutdown.go and errors.go.

package observe

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func abandoned(id byte) Abandoned {
	text := []byte("0000000000000000")
	text[15] = id
	return Abandoned{NSQD: "nsqd:4150", Topic: "orders", Channel: "billing", ID: handler.ID(text), Attempts: 2}
}

func TestShutdownErrorText(t *testing.T) {
	notConfirmed := &conn.Error{Addr: "nsqd:4150", Phase: conn.PhaseClose, Err: conn.ErrNotConfirmed}
	for _, tt := range []struct {
		err  ShutdownError
		want string
	}{
		{ShutdownError{}, "nsqx: shutdown incomplete"},
		{
			ShutdownError{Abandoned: []Abandoned{abandoned('1'), abandoned('2')}},
			"nsqx: shutdown incomplete: 2 handlers of orders/billing did not return in time, messages" +
				" 0000000000000001@nsqd:4150 0000000000000002@nsqd:4150",
		},
		{
			ShutdownError{Unanswered: []Abandoned{abandoned('3')}},
			"nsqx: shutdown incomplete; 1 messages of orders/billing came too late to be given back, 0000000000000003@nsqd:4150",
		},
		{
			ShutdownError{Unconfirmed: []error{notConfirmed, errLost}},
			"nsqx: shutdown incomplete; nsqx: nsqd nsqd:4150: close: nsqd has not confirmed the end of the connection; " + errLost.Error(),
		},
		{ShutdownError{Running: 3}, "nsqx: shutdown incomplete; 3 handlers still run"},
		{ShutdownError{HookRuns: true}, "nsqx: shutdown incomplete; a hook or the logger still runs"},
		{ShutdownError{CallbackRuns: true}, "nsqx: shutdown incomplete; a dialer, AuthSecret, net.Conn, Discoverer, filter or HTTP client has not returned"},
		{
			ShutdownError{
				Abandoned: []Abandoned{abandoned('1')}, Unanswered: []Abandoned{abandoned('2')}, Unconfirmed: []error{errLost},
				Running: 1, HookRuns: true,
			},
			"nsqx: shutdown incomplete: 1 handlers of orders/billing did not return in time, messages 0000000000000001@nsqd:4150" +
				"; 1 messages of orders/billing came too late to be given back, 0000000000000002@nsqd:4150; " + errLost.Error() +
				"; 1 handlers still run; a hook or the logger still runs",
		},
	} {
		check.Want(t, "text", tt.err.Error(), tt.want)
	}
}

// TestShutdownErrorEmpty sets one field at a time, so that a new field cannot be forgotten.
func TestShutdownErrorEmpty(t *testing.T) {
	check.Want(t, "Empty of the zero value", (&ShutdownError{}).Empty(), true)
	typ := reflect.TypeFor[ShutdownError]()
	for i := range typ.NumField() {
		var e ShutdownError
		f := reflect.ValueOf(&e).Elem().Field(i)
		switch f.Kind() {
		case reflect.Slice:
			check.Want(t, "Empty with an empty "+typ.Field(i).Name, e.Empty(), true)
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Int:
			f.SetInt(1)
		case reflect.Bool:
			f.SetBool(true)
		default:
			t.Fatalf("no value for %s", typ.Field(i).Name)
		}
		check.Want(t, "Empty with "+typ.Field(i).Name, e.Empty(), false)
	}
}

func TestShutdownErrorIs(t *testing.T) {
	timeout := &ShutdownError{Abandoned: []Abandoned{abandoned('1')}}
	unconfirmed := &ShutdownError{Unconfirmed: []error{errLost, fmt.Errorf("wrapped: %w", conn.ErrNotConfirmed)}}
	for _, tt := range []struct {
		err    error
		target error
		want   bool
	}{
		{timeout, context.DeadlineExceeded, true},
		{timeout, context.Canceled, false},
		{unconfirmed, context.DeadlineExceeded, false},
		{unconfirmed, errLost, true},
		{unconfirmed, conn.ErrNotConfirmed, true},
		{&ShutdownError{Unanswered: []Abandoned{abandoned('1')}, Running: 1, HookRuns: true}, context.DeadlineExceeded, false},
	} {
		check.Want(t, fmt.Sprintf("errors.Is(%v, %v)", tt.err, tt.target), errors.Is(tt.err, tt.target), tt.want)
	}
}

func TestCloseError(t *testing.T) {
	err := error(&CloseError{Unconfirmed: 5, Err: context.DeadlineExceeded})
	check.Want(t, "text", err.Error(), "nsqx: publisher closed with 5 messages unconfirmed: context deadline exceeded")
	check.WantErr(t, "cause", err, context.DeadlineExceeded)
}

func TestErrorTexts(t *testing.T) {
	for err, want := range map[error]string{
		ErrNoTopic:    "nsqx: topic not found",
		ErrNotRunning: "nsqx: the consumer does not run, or is ending",
		ErrNoNSQD:     "nsqx: no nsqd can be reached",
		ErrStuck:      "nsqx: no handler returns: nsqd has given all their messages to others",
	} {
		check.Want(t, "text", err.Error(), want)
	}
}
