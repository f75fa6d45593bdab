package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestPublishTransports publishes over each transport: PUB and MPUB from many goroutines, an MPUB
// of bodies of all sizes, and a DPUB.
func TestPublishTransports(t *testing.T) {
	t.Parallel()
	const goroutines, each = 16, 20
	for _, tt := range transports(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, tt.nsqd...)
			s.EnsureChannel(topic, channel)
			p := testnsqd.StartProxy(t, s.Addr())
			var leaked atomic.Bool
			p.Tap(func(_ testnsqd.Direction, b []byte) []byte {
				if bytes.Contains(b, []byte("#300-")) || bytes.Contains(b, []byte(canary)) {
					leaked.Store(true)
				}
				return b
			})
			w := new(watch)
			producer := newProducer(t, topic, nsqx.WithNSQD(p.Addr()), nsqx.WithConn(tt.conn), nsqx.WithHooks(w.hooks()))

			var want []string
			for _, body := range mixedBodies(150) {
				want = append(want, string(body))
			}
			n, err := producer.PublishAll(t.Context(), want)
			if n != len(want) || err != nil {
				t.Errorf("PublishAll: %d, %v, want %d", n, err, len(want))
			}
			var r results
			var running sync.WaitGroup
			for g := range goroutines {
				running.Go(func() {
					for i := range each {
						_ = r.publish(t.Context(), producer, fmt.Sprintf("#300-%d-%d", g, i))
					}
				})
			}
			running.Wait()
			must(t, errors.Join(r.others...))
			want = append(want, r.confirmed...)
			want = append(want, "#300-later")
			must(t, producer.PublishAfter(t.Context(), 10*time.Millisecond, "#300-later"))
			if len(want) != 150+goroutines*each+1 {
				t.Errorf("%d messages are confirmed", len(want))
			}
			wantOnce(t, s, topic, want, nsqx.WithConn(tt.conn))

			must(t, producer.PublishAfter(t.Context(), time.Minute, "much later"))
			eventually(t, func() bool { return s.Channel(topic, channel).Deferred == 1 }, "a deferred message")
			w.connected(t, 1)
			if got := len(w.events(&w.connects)); got != 1 || len(w.events(&w.disconnects)) > 0 {
				t.Errorf("%d connections, ended: %v", got, w.events(&w.disconnects))
			}
			if tt.opaque && leaked.Load() {
				t.Error("a body or the secret went over the wire in clear text")
			}
		})
	}
}

// TestPublishDeniedA3: the secret permits one topic. Publishes to another are rejected, at the cost
// of the connection. Publishes to the first, over the same publisher, succeed. (I14)
func TestPublishDeniedA3(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 25
	auth := testnsqd.StartAuth(t)
	auth.SetMode(testnsqd.AuthOtherTopic)
	s := testnsqd.Start(t, auth.Require)
	s.EnsureChannel("other", channel)
	pub := newPublisher(t, nsqx.WithNSQD(s.Addr()), nsqx.WithConn(authorized))
	to := func(topic string) *nsqx.Producer[string] {
		p, err := nsqx.NewProducer(topic, codec.String(), nsqx.WithPublisher(pub))
		must(t, err)
		return p
	}
	denied, allowed := to("denied"), to("other")
	refused := func() {
		err := denied.Publish(t.Context(), "m")
		wantKind(t, "not permitted", err, nsqx.ErrRejected)
		wantCode(t, err, "E_UNAUTHORIZED")
	}

	refused() // the first publish of a connection
	must(t, allowed.Publish(t.Context(), "first"))
	var r results
	var running sync.WaitGroup
	for g := range goroutines {
		running.Go(func() {
			for i := range each {
				_ = r.publish(t.Context(), allowed, fmt.Sprint(g, "-", i))
			}
		})
	}
	for range 4 {
		refused()
	}
	running.Wait()
	must(t, errors.Join(r.others...))
	if len(r.confirmed) != goroutines*each {
		t.Errorf("%d of %d are confirmed, %d are not", len(r.confirmed), goroutines*each, len(r.unconfirmed))
	}
	wantOnce(t, s, "other", append(r.confirmed, "first"), nsqx.WithConn(authorized))
	if n := count(s, "denied"); n > 0 {
		t.Errorf("nsqd has %d messages that it refused", n)
	}
}

// TestPublishAuthExpiresA4: nsqd checks a secret again and the auth server fails. Publishes that
// nsqd refuses then are not sent, until the server recovers.
func TestPublishAuthExpiresA4(t *testing.T) {
	t.Parallel()
	auth := testnsqd.StartAuth(t)
	auth.SetTTL(1)
	s := testnsqd.Start(t, auth.Require)
	s.EnsureChannel(topic, channel)
	p := testnsqd.StartProxy(t, s.Addr())
	producer := newProducer(t, topic, nsqx.WithNSQD(p.Addr()), nsqx.WithConn(authorized), nsqx.WithPublishTimeout(0))
	var r results
	published := 0
	next := func() error {
		published++
		return r.publish(t.Context(), producer, fmt.Sprint("m", published))
	}
	must(t, next())
	p.Refuse() // a failed handshake would delay the next by seconds
	auth.SetMode(testnsqd.AuthError)
	var err error
	eventually(t, func() bool { err = next(); return err != nil }, "the TTL to end")
	wantKind(t, "auth server fails", err, nsqx.ErrNotSent)
	wantCode(t, err, "E_AUTH_FAILED")
	auth.SetMode(testnsqd.AuthOK)
	p.Allow()
	eventually(t, func() bool { return next() == nil }, "a publish to succeed")
	for _, err := range r.others {
		wantKind(t, "auth server fails", err, nsqx.ErrNotSent)
	}
	if len(r.unconfirmed) > 0 {
		t.Errorf("%d are unconfirmed", len(r.unconfirmed))
	}
	auth.SetTTL(3600)
	wantOnce(t, s, topic, r.confirmed, nsqx.WithConn(authorized))
}
