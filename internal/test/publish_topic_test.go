package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestPublishToAnyTopic: a publisher publishes bodies to topics that are known at run time, with the
// options of a producer.
func TestPublishToAnyTopic(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p, err := nsqx.NewPublisher(s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
		wantErr(t, "publisher", err, nil)
		ctx := context.Background()
		body := []byte("a")
		wantErr(t, "Publish", p.Publish(ctx, "first", body, nsqx.Header("k", "v")), nil)
		wantErr(t, "PublishAfter", p.PublishAfter(ctx, "second", time.Minute, body), nil)
		wantErr(t, "PublishAt", p.PublishAt(ctx, "second", time.Now().Add(2*time.Minute), body), nil)
		n, err := p.PublishAll(ctx, "third", [][]byte{[]byte("1"), []byte("2")})
		wantErr(t, "PublishAll", err, nil)
		want(t, "confirmed", n, 2)
		var errs synced[error]
		for range 5 {
			wantErr(t, "PublishAsync", p.PublishAsync(ctx, "fourth", body, func(err error) { time.Sleep(time.Second); errs.add(err) }), nil)
		}
		body[0] = 'b' // PublishAsync has copied it
		wantErr(t, "Flush", p.Flush(ctx), nil)
		want(t, "called back", fmt.Sprint(errs.all()), "[<nil> <nil> <nil> <nil> <nil>]")

		for topic, bodies := range map[string]string{"first": "a", "second": "a a", "third": "1 2", "fourth": "a a a a a"} {
			var got []string
			for _, m := range s.Published(topic) {
				_, payload, err := envelope.Split(m.Body)
				wantErr(t, "envelope", err, nil)
				got = append(got, string(payload))
			}
			want(t, topic, strings.Join(got, " "), bodies)
		}
		headers, _, err := envelope.Split(s.Published("first")[0].Body)
		wantErr(t, "envelope", err, nil)
		v, _ := headers.Get("k")
		want(t, "header", string(v), "v")
		want(t, "first delay", s.Published("second")[0].Delay, time.Minute)
		want(t, "second delay", s.Published("second")[1].Delay, 2*time.Minute)

		for _, topic := range []string{"", "or ders", strings.Repeat("x", 65)} {
			wantErr(t, "faulty topic", p.Publish(ctx, topic, body), nsqx.ErrRejected)
			_, err := p.PublishAll(ctx, topic, [][]byte{body})
			wantErr(t, "faulty topic", err, nsqx.ErrRejected)
		}
		wantErr(t, "empty body with headers", p.Publish(ctx, "first", nil), nil)
		wantErr(t, "zero time", p.PublishAt(ctx, "first", time.Time{}, body), nsqx.ErrRejected)
		wantErr(t, "negative delay", p.PublishAfter(ctx, "first", -1, body), nsqx.ErrRejected)
		n, err = p.PublishAll(ctx, "first", nil)
		wantErr(t, "nothing", err, nil)
		want(t, "confirmed", n, 0)

		called := false
		wantErr(t, "PublishAsync", p.PublishAsync(ctx, "fourth", body, func(error) { time.Sleep(time.Second / 2); called = true }), nil)
		wantErr(t, "Close", p.Close(), nil)
		want(t, "called back before the end of Close", called, true)
		for name, err := range map[string]error{
			"Publish": p.Publish(ctx, "first", body), "PublishAsync": p.PublishAsync(ctx, "first", body, nil),
		} {
			e, ok := errors.AsType[*nsqx.PublishError](err)
			if !ok || e.Kind != nsqx.ErrNotSent || e.Topic != "first" {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
	})
}
