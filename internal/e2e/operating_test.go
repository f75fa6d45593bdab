package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/middleware"
)

// Outages of real parts, and what a service writes to its log: each event in one line, with its cause
// and its end. docs/guide/operating.md has the same lines, in a test's time.

func nothing(context.Context, string) error { return nil }

// TestLogOfNSQD: an nsqd goes away and comes back.
func TestLogOfNSQD(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	px := testnsqd.StartProxy(t, s.Addr())
	consumer, publisher := new(story), new(story)
	p := newProducer(t, topic, nsqx.WithNSQD(px.Addr()), nsqx.WithLogger(publisher.logger()))
	connectTo(t, p)
	c := newConsumer(t, nothing, nsqx.WithNSQD(px.Addr()), nsqx.WithLogger(consumer.logger()))
	start(t, c)
	receive(t, c.Ready(), "Ready")
	s.QuiescedRestart(px)
	for _, l := range []*story{consumer, publisher} {
		l.until(t, "connected again")
		l.is(t, "INFO connected", "WARN connection lost", "INFO connected again")
		l.says(t, "connection lost", "nsqd="+px.Addr(), "error=", "connected=0")
		l.says(t, "connected again", "down_seconds=", "connected=1")
	}
	consumer.says(t, "connection lost", "topic=orders channel=billing")
}

// TestLogOfLookupd: one of two nsqlookupds goes away and comes back.
func TestLogOfLookupd(t *testing.T) {
	t.Parallel()
	one, other := testnsqd.StartLookupd(t), testnsqd.StartLookupd(t)
	s := testnsqd.Start(t, one.Register, other.Register)
	s.EnsureChannel(topic, channel)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, d := range []*testnsqd.Lookupd{one, other} {
		eventually(t, func() bool {
			r, err := client.Get("http://" + d.HTTPAddr() + "/lookup?topic=" + topic)
			if err != nil {
				return false
			}
			defer r.Body.Close()
			answer, _ := io.ReadAll(r.Body)
			return bytes.Contains(answer, []byte("tcp_port"))
		}, "the topic at a nsqlookupd")
	}
	l := new(story)
	c := newConsumer(t, nothing, nsqx.WithLookupd(one.HTTPAddr(), other.HTTPAddr()), soon, nsqx.WithLogger(l.logger()))
	start(t, c)
	l.until(t, "connected")
	other.Stop()
	l.until(t, "nsqlookupd cannot be asked for nsqds")
	other.Restart()
	s.Kick()
	l.until(t, "nsqlookupd answers again")
	l.is(t, "INFO connected", "WARN nsqlookupd cannot be asked for nsqds", "INFO nsqlookupd answers again")
	l.says(t, "nsqlookupd cannot be asked for nsqds", "source="+other.HTTPAddr(), "error=")
	l.says(t, "answers again", "source="+other.HTTPAddr(), "found=", "down_seconds=")
}

// TestLogOfDatabase: a database refuses connections, or takes them and does not answer.
func TestLogOfDatabase(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		hangs bool
		cause string
	}{
		"refuses":         {false, "connection refused"},
		"does not answer": {true, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			well, db := new(atomic.Bool), listen(t)
			if !tt.hangs {
				_ = db.Close()
			}
			query := func(ctx context.Context, _ string) error {
				if well.Load() {
					return nil
				}
				nc, err := new(net.Dialer).DialContext(ctx, "tcp", db.Addr().String())
				if err != nil {
					return err
				}
				defer nc.Close()
				deadline, _ := ctx.Deadline()
				_ = nc.SetDeadline(deadline)
				_, err = nc.Read(make([]byte, 1))
				return err
			}
			s, l := testnsqd.Start(t), new(story)
			publish(t, s, topic, numbered("m", 30)...)
			c := newConsumer(t, query, nsqx.WithNSQD(s.Addr()), nsqx.WithLogger(l.logger()), at(time.Second),
				nsqx.WithConcurrency(10), nsqx.WithMiddleware(middleware.Timeout(300*time.Millisecond)))
			start(t, c)
			l.until(t, "breaker opens")
			well.Store(true)
			finished(t, s, c, 30)
			l.until(t, "breaker closes")
			l.has(t, "INFO connected", "WARN message failed", "WARN breaker opens", "INFO breaker closes")
			l.says(t, "message failed", "msg.id=", "disposition=requeue", tt.cause)
			l.says(t, "breaker opens", "topic=orders channel=billing", "failed=", tt.cause)
			l.says(t, "breaker closes", "open_seconds=")
		})
	}
}

// TestLogOfMessages: a poison message, and a release that cannot read its messages.
func TestLogOfMessages(t *testing.T) {
	t.Parallel()
	t.Run("poison", func(t *testing.T) {
		t.Parallel()
		s, l := testnsqd.Start(t), new(story)
		publish(t, s, topic, []byte("poison"))
		c := newConsumer(t, func(context.Context, string) error { return errFailed },
			nsqx.WithNSQD(s.Addr()), nsqx.WithLogger(l.logger()), nsqx.WithoutBackoff(), at(50*time.Millisecond))
		start(t, c)
		l.until(t, "message fails again and again")
		l.has(t, "INFO connected", "WARN message failed", "WARN message fails again and again")
		l.says(t, "again and again", "msg.attempts=10", "error=\"handler failed\"", "age_seconds=", "WithMaxAttempts")
	})
	t.Run("bad release", func(t *testing.T) {
		t.Parallel()
		s, l := testnsqd.Start(t), new(story)
		publish(t, s, topic, numbered("m", 30)...)
		c, err := nsqx.NewConsumer(topic, channel, codec.JSON[int](), func(context.Context, int) error { return nil },
			nsqx.WithNSQD(s.Addr()), nsqx.WithLogger(l.logger()))
		must(t, err)
		start(t, c)
		l.until(t, "breaker opens")
		l.has(t, "INFO connected", "WARN message does not decode", "WARN breaker opens")
		l.says(t, "does not decode", "codec.JSON[int]", "msg.id=", "WithDeadLetter")
	})
}

// TestLogOfStuckHandler: a handler outlives its message, and returns.
func TestLogOfStuckHandler(t *testing.T) {
	t.Parallel()
	s, l := testnsqd.Start(t, messageTimeout(time.Second)), new(story)
	publish(t, s, topic, []byte("m"))
	release := make(chan struct{})
	c := newConsumer(t, func(ctx context.Context, _ string) error {
		if handler.FromContext(ctx).Attempts == 1 {
			await(t, release) // ignores ctx
		}
		return nil
	}, nsqx.WithNSQD(s.Addr()), nsqx.WithLogger(l.logger()), nsqx.WithConcurrency(2))
	start(t, c)
	l.until(t, "handler outlives its message")
	finished(t, s, c, 1)
	close(release)
	l.until(t, "handler that outlived its message has returned")
	l.has(t, "INFO connected", "WARN handler outlives its message", "WARN nsqd refused an answer", "INFO handler that outlived its message has returned")
	l.says(t, "handler outlives", "msg.id=", "msg.attempts=1", "since=", "WithMessageTimeout")
}

// TestLogOfFullDisk: nsqd cannot write to its disk. A directory stands where its file should be.
func TestLogOfFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := testnsqd.Start(t, func(o *nsqd.Options) { o.DataPath, o.MemQueueSize = dir, 0 })
	inTheWay := filepath.Join(dir, "dead.diskqueue.000000.dat")
	publish(t, s, topic, []byte("m"))
	must(t, os.Mkdir(inTheWay, 0o700))
	consumer, publisher := new(story), new(story)
	p := newProducer(t, "dead", nsqx.WithNSQD(s.Addr()), nsqx.WithLogger(publisher.logger()))
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // Publish tries again
		defer cancel()
		if err := p.Publish(ctx, "m"); !errors.Is(err, nsqx.ErrNotSent) {
			t.Errorf("Publish: %v, want ErrNotSent", err)
		} else {
			wantCode(t, err, "E_PUB_FAILED")
		}
	}
	c := newConsumer(t, func(context.Context, string) error { return errFailed }, nsqx.WithNSQD(s.Addr()), nsqx.WithLogger(consumer.logger()),
		nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead"), at(100*time.Millisecond))
	start(t, c)
	consumer.until(t, "dead letter not published")
	must(t, os.Remove(inTheWay))
	must(t, p.Publish(t.Context(), "m"))
	consumer.until(t, "message given up")
	consumer.has(t, "INFO connected", "ERROR dead letter not published", "WARN message given up")
	consumer.says(t, "dead letter not published", "dead_letter_error=", "E_PUB_FAILED", inTheWay, "disposition=requeue", "destination=dead", `error="handler failed"`)
	closeIn(t, p)
	publisher.is(t, "INFO connected", "WARN nsqd refuses a publish", "INFO nsqd refused publishes until the end")
	publisher.says(t, "nsqd refuses a publish", "nsqd="+s.Addr(), "E_PUB_FAILED", inTheWay, "--data-path")
	publisher.says(t, "until the end", "refused=", "duration_seconds=")
}

// TestLogOfExpiredCertificate: the certificate of nsqd, or ours, has expired when a connection is lost.
func TestLogOfExpiredCertificate(t *testing.T) {
	t.Parallel()
	for name, ours := range map[string]bool{"of nsqd": false, "ours": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := testnsqd.NewAuthority(t)
			end := time.Now().Add(3 * time.Second)
			short := ca.Issue("short", func(c *x509.Certificate) { c.NotAfter = end })
			serve, known, cause := ca.RequireClientCert, ca.Client, "certificate has expired"
			if ours {
				known, cause = short, "expired certificate"
			}
			s := testnsqd.Start(t, serve, func(o *nsqd.Options) {
				if !ours {
					o.TLSCert, o.TLSKey = short.CertFile, short.KeyFile
				}
			})
			px, l := testnsqd.StartProxy(t, s.Addr()), new(story)
			c := newConsumer(t, nothing, nsqx.WithNSQD(px.Addr()), nsqx.WithLogger(l.logger()), nsqx.WithConn(conn.Config{TLS: ca.ClientConfig(known)}))
			start(t, c)
			receive(t, c.Ready(), "Ready")
			time.Sleep(time.Until(end.Truncate(time.Second).Add(time.Second)))
			px.Cut()
			l.until(t, "cannot connect")
			l.is(t, "INFO connected", "WARN connection lost", "ERROR cannot connect")
			l.says(t, "cannot connect", cause, "certificates", "since=", "connected=0")
		})
	}
}

// TestLogOfWithdrawnAuth: the auth server does not know the secret any more.
func TestLogOfWithdrawnAuth(t *testing.T) {
	t.Parallel()
	auth := testnsqd.StartAuth(t)
	auth.SetTTL(1)
	s := testnsqd.Start(t, auth.Require)
	px := testnsqd.StartProxy(t, s.Addr())
	consumer, publisher := new(story), new(story)
	p := newProducer(t, topic, nsqx.WithNSQD(s.Addr()), nsqx.WithLogger(publisher.logger()), nsqx.WithConn(authorized))
	c := newConsumer(t, nothing, nsqx.WithNSQD(px.Addr()), nsqx.WithLogger(consumer.logger()), nsqx.WithConn(authorized))
	start(t, c)
	receive(t, c.Ready(), "Ready")
	must(t, p.Publish(t.Context(), "m"))
	auth.SetMode(testnsqd.AuthForbidden)
	time.Sleep(1100 * time.Millisecond)
	consumer.is(t, "INFO connected") // nsqd asks at SUB only
	px.Cut()
	wantKind(t, "without permission", p.Publish(t.Context(), "m"), nsqx.ErrNotSent)
	consumer.until(t, "cannot connect")
	auth.SetMode(testnsqd.AuthOK)
	consumer.until(t, "connected again")
	publisher.until(t, "connected again")
	consumer.is(t, "INFO connected", "WARN connection lost", "ERROR cannot connect", "INFO connected again")
	consumer.says(t, "cannot connect", "E_AUTH_FAILED", "AuthSecret of conn.Config", "since=")
	publisher.is(t, "INFO connected", "ERROR connection lost", "INFO connected again")
	publisher.says(t, "connection lost", "E_AUTH_FAILED", "AuthSecret of conn.Config")
}

// listen returns a listener whose connections the kernel accepts, and nobody answers.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}
