package handler_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// enveloped returns a delivery with headers, given as keys and values in turn.
func enveloped(t *testing.T, headers ...string) *handler.Delivery {
	t.Helper()
	var w envelope.Writer
	for i := 0; i < len(headers); i += 2 {
		if err := w.Set(headers[i], headers[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	d := new(handler.Delivery)
	d.Init(&handler.Read{Source: newSource(t)}, handler.ID{}, 1, 0, w.AppendTo(nil, []byte("x")))
	return d
}

func TestIdentity(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	text := envelope.FormatTime(at)
	m := enveloped(t, envelope.ID, "7", envelope.Key, "k", envelope.Published, text, envelope.NotBefore, text, envelope.Expires, text).Message()
	if m.UID() != "7" || m.Key() != "k" || !m.PublishedAt().Equal(at) || !m.NotBefore().Equal(at) || !m.Expires().Equal(at) {
		t.Errorf("got %q %q %v %v %v", m.UID(), m.Key(), m.PublishedAt(), m.NotBefore(), m.Expires())
	}
	if other := m.WithBody(nil); other.UID() != "7" || !other.Expires().Equal(at) {
		t.Errorf("with another body: %q %v", other.UID(), other.Expires())
	}
	(*handler.Delivery)(m).Release()
	if m.UID() != "" {
		t.Errorf("settled: %q", m.UID())
	}
	for name, m := range map[string]*handler.Message{
		"zero":       new(handler.Message),
		"plain":      enveloped(t).Message(),
		"too long":   enveloped(t, envelope.ID, strings.Repeat("x", 256), envelope.Key, strings.Repeat("x", 256)).Message(),
		"not a time": enveloped(t, envelope.Published, "now", envelope.NotBefore, "now", envelope.Expires, "now").Message(),
	} {
		if m.UID() != "" || m.Key() != "" || !m.PublishedAt().IsZero() || !m.NotBefore().IsZero() || !m.Expires().IsZero() {
			t.Errorf("%s: got %q %q %v %v %v", name, m.UID(), m.Key(), m.PublishedAt(), m.NotBefore(), m.Expires())
		}
	}
}

func TestSchedule(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	text := envelope.FormatTime(at)
	for name, tt := range map[string]struct {
		headers   []string
		scheduled bool
		want      handler.Schedule
		key       string // of the error
	}{
		"plain":          {nil, false, handler.Schedule{}, ""},
		"others":         {[]string{envelope.ID, "7", envelope.Published, text}, false, handler.Schedule{}, ""},
		"not before":     {[]string{"a", "1", envelope.NotBefore, text}, true, handler.Schedule{NotBefore: at}, ""},
		"both":           {[]string{envelope.NotBefore, text, envelope.Expires, text}, true, handler.Schedule{at, at}, ""},
		"broken":         {[]string{envelope.NotBefore, "x", envelope.Expires, text}, true, handler.Schedule{}, envelope.NotBefore},
		"broken end":     {[]string{envelope.NotBefore, text, envelope.Expires, ""}, true, handler.Schedule{}, envelope.Expires},
		"a dead letter":  {[]string{envelope.NotBefore, "x", envelope.DeadTopic, "orders"}, false, handler.Schedule{}, ""},
		"not understood": {[]string{"!zip", "1", envelope.Expires, text}, true, handler.Schedule{Expires: at}, ""},
	} {
		d := enveloped(t, tt.headers...)
		for _, d := range []*handler.Delivery{d, (*handler.Delivery)(d.Message().WithBody(nil))} {
			got, err := d.Schedule()
			if d.Scheduled() != tt.scheduled || got != tt.want {
				t.Errorf("%s: got %v, %v", name, d.Scheduled(), got)
			}
			if e, ok := errors.AsType[*envelope.HeaderError](err); ok != (tt.key != "") || ok && e.Key != tt.key {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
