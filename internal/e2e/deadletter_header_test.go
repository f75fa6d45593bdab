package e2e

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestDeadLetterHeaders checks dead letters in nsqd, including one with no room for headers.
func TestDeadLetterHeaders(t *testing.T) {
	t.Parallel()
	const limit = 2048
	s := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxMsgSize = limit })
	var w envelope.Writer
	must(t, w.Set("tenant", "acme"))
	full := strings.Repeat("x", limit)
	publish(t, s, topic, []byte("plain"), w.AppendTo(nil, []byte("with headers")), []byte(full))
	c := newConsumer(t, func(context.Context, string) error { return errFailed }, nsqx.WithNSQD(s.Addr()),
		nsqx.WithConn(conn.Config{MaxMessageSize: limit}), nsqx.WithDeadLetter("dead"), nsqx.WithMaxAttempts(1))
	r := start(t, c)
	finished(t, s, c, 3)
	r.mustStop()

	type letter struct{ body, tenant, origin, cause string }
	got := make(chan letter, 6)
	s.EnsureChannel("dead", channel)
	reader, err := nsqx.NewConsumer("dead", channel, codec.Bytes(), func(ctx context.Context, body []byte) error {
		m := handler.FromContext(ctx)
		origin := m.Header(envelope.DeadTopic) + "/" + m.Header(envelope.DeadChannel) + " " + m.Header(envelope.DeadAttempts)
		got <- letter{string(bytes.TrimRight(body, "x")), m.Header("tenant"), origin, m.Header(envelope.DeadError)}
		return nil
	}, nsqx.WithNSQD(s.Addr()))
	must(t, err)
	r = start(t, reader)
	want := map[letter]bool{
		{"plain", "", "orders/billing 1", "handler failed"}:            true,
		{"with headers", "acme", "orders/billing 1", "handler failed"}: true,
		{"", "", "/ ", ""}: true,
	}
	for range 3 {
		l := receive(t, got, "a dead letter")
		if !want[l] {
			t.Errorf("dead letter %+v", l)
		}
		delete(want, l)
	}
	r.mustStop()
}
