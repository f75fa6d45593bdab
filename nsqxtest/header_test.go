package nsqxtest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// TestHeaders: the options of a message make the headers that a consumer reads.
func TestHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		opts := []MessageOption{WithUID("7"), WithKey("k"), WithPublishedAt(now), WithNotBefore(now.Add(time.Hour)), WithExpires(now.Add(2 * time.Hour)),
			WithHeader("tenant", "acme"), WithHeader("Tenant", "other")}
		check := func(m *handler.Message, body string) {
			t.Helper()
			if m.UID() != "7" || m.Key() != "k" || !m.PublishedAt().Equal(now) || !m.NotBefore().Equal(now.Add(time.Hour)) ||
				!m.Expires().Equal(now.Add(2*time.Hour)) || m.Header("tenant") != "other" || string(m.Body) != body {
				t.Errorf("got %q %q %v %v %v %q %q", m.UID(), m.Key(), m.PublishedAt(), m.NotBefore(), m.Expires(), m.Header("tenant"), m.Body)
			}
		}
		m := Message([]byte("x"), opts...)
		check(m, "x")
		check(Message(m.RawBody()), "x") // an envelope is one already
		_ = Handle(t, func(ctx context.Context, _ string) error {
			check(handler.FromContext(ctx), "")
			return nil
		}, "x", opts...)
		if m := Message([]byte("x")); m.UID() != "" || string(m.RawBody()) != "x" {
			t.Errorf("without headers: %q", m.RawBody())
		}
		defer func() {
			if recover() == nil {
				t.Error("a header that cannot be carried did not panic")
			}
		}()
		Message(nil, WithUID("a\nb"))
	})
}
