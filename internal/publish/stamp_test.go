package publish

import (
	"context"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// envelopeOf returns a body with headers, given as keys and values in turn.
func envelopeOf(t *testing.T, payload string, headers ...string) []byte {
	t.Helper()
	var w envelope.Writer
	for i := 0; i < len(headers); i += 2 {
		check.WantErr(t, "Set", w.Set(headers[i], headers[i+1]), nil)
	}
	return w.AppendTo(nil, []byte(payload))
}

// TestStamp: who has no id gets one, for the time of the publish.
func TestStamp(t *testing.T) {
	for name, tt := range map[string]struct {
		body   []byte
		plain  bool
		common []string
		own    []string
		want   string // the id that is added: "" for none
	}{
		"none":                 {[]byte("x"), false, nil, nil, "new"},
		"plain":                {[]byte("x"), true, nil, nil, ""},
		"its own":              {[]byte("x"), false, nil, []string{envelope.ID, "7"}, ""},
		"the only one":         {[]byte("x"), false, []string{envelope.ID, "7"}, nil, ""},
		"published again":      {envelopeOf(t, "x", envelope.ID, "7"), false, nil, nil, ""},
		"a payload":            {envelopeOf(t, "x", envelope.ID, "7"), false, nil, nil, "new"},
		"from elsewhere":       {envelopeOf(t, "x", "tenant", "acme"), false, nil, nil, "new"},
		"a malformed envelope": {[]byte("\xC1\xCE\xD3\xD1\x11\x80\x85abcde"), false, nil, nil, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			out := &handler.Outgoing{Topic: "orders", Envelope: !tt.plain, Raw: name != "a payload", Messages: []handler.OutgoingMessage{{Body: tt.body}}}
			for i := 0; i < len(tt.common); i += 2 {
				check.WantErr(t, "Set", out.Headers.Set(tt.common[i], tt.common[i+1]), nil)
			}
			for i := 0; i < len(tt.own); i += 2 {
				check.WantErr(t, "Set", out.Messages[0].Headers.Set(tt.own[i], tt.own[i+1]), nil)
			}
			before := out.Headers.Len() + out.Messages[0].Headers.Len()
			called := false
			err := new(Router).Stamp(func(_ context.Context, out *handler.Outgoing) error {
				called = true
				_, timed := out.Headers.Get(envelope.Published)
				check.Want(t, "has the time", timed, !tt.plain)
				id, _ := out.Messages[0].Headers.Get(envelope.ID)
				check.Want(t, "new id", len(id) == idLen && id[14] == '7', tt.want == "new")
				return errCause
			})(t.Context(), out)
			check.WantErr(t, "error", err, errCause)
			check.Want(t, "called", called, true)
			check.Want(t, "headers afterwards", out.Headers.Len()+out.Messages[0].Headers.Len(), before)
		})
	}
}

// TestStampKeepsTheTime: a publish that says when it was made, keeps that.
func TestStampKeepsTheTime(t *testing.T) {
	out := &handler.Outgoing{Envelope: true, Messages: []handler.OutgoingMessage{{Body: []byte("x")}}}
	check.WantErr(t, "Set", out.Headers.Set(envelope.Published, "then"), nil)
	err := new(Router).Stamp(func(context.Context, *handler.Outgoing) error { return nil })(t.Context(), out)
	check.WantErr(t, "error", err, nil)
	got, _ := out.Headers.Get(envelope.Published)
	check.Want(t, "time", got, "then")
}

func TestNewIDs(t *testing.T) {
	const n = 1000
	all, err := newIDs(n)
	check.WantErr(t, "error", err, nil)
	last := ""
	for i := range n {
		id := all[i*idLen : (i+1)*idLen]
		if id <= last || id[8] != '-' || id[13] != '-' || id[14] != '7' || id[18] != '-' || id[23] != '-' || strings.Count(id, "-") != 4 {
			t.Fatalf("id %d is %q, after %q", i, id, last)
		}
		last = id
	}
}

func TestRefusedDelay(t *testing.T) {
	refused := func(text string) error {
		return &conn.PublishError{Kind: conn.ErrRejected, Err: &conn.ServerError{Code: "E_INVALID", Text: text}}
	}
	for name, tt := range map[string]struct {
		err     error
		limit   int64
		refused bool
	}{
		"none":           {nil, 0, false},
		"another":        {errCause, 0, false},
		"not rejected":   {&conn.PublishError{Kind: conn.ErrNotSent, Err: errCause}, 0, false},
		"other text":     {refused("E_INVALID cannot PUB"), 0, false},
		"by nsqd":        {refused("DPUB timeout 3600000 out of range 0-60000"), 60000, true},
		"without limit":  {refused("DPUB timeout 3600000 is too long"), 0, true},
		"hostile":        {refused("DPUB timeout 1 out of range 0--5"), 0, true},
		"hostile, large": {refused("DPUB timeout 1 out of range 0-99999999999999999999999"), 1<<31 - 1, true},
	} {
		limit, refused := refusedDelay(tt.err)
		check.Want(t, name, refused, tt.refused)
		check.Want(t, name, limit, tt.limit)
	}
}
