package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// refusal is a connection that must not succeed.
type refusal struct {
	name  string
	nsqd  []func(*nsqd.Options)
	conn  conn.Config
	phase conn.Phase
	want  func(error) bool
}

// refusals are the ways in which nsqd and the configuration do not match. All have a secret to
// lose.
func refusals(t *testing.T) []refusal {
	ca, stranger := testnsqd.NewAuthority(t), testnsqd.NewAuthority(t)
	good := ca.ClientConfig()
	auth := func(mode testnsqd.AuthMode) func(*nsqd.Options) {
		a := testnsqd.StartAuth(t)
		a.SetMode(mode)
		return a.Require
	}
	expired := ca.Issue("expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	clientOnly := ca.Issue("client only", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	elsewhere := good.Clone()
	elsewhere.ServerName = "nsqd.elsewhere"
	is := func(target error) func(error) bool {
		return func(err error) bool { return errors.Is(err, target) }
	}
	code := func(code string) func(error) bool {
		return func(err error) bool {
			e, ok := errors.AsType[*conn.ServerError](err)
			return ok && e.Code == code
		}
	}
	options := func(o ...func(*nsqd.Options)) []func(*nsqd.Options) { return o }
	over := func(c *tls.Config) conn.Config { return conn.Config{TLS: c, AuthSecret: secret} }
	return []refusal{
		{"T1: no TLS offered", options(auth(testnsqd.AuthOK)), over(good), conn.PhaseIdentify, is(conn.ErrNoTLS)},
		{"T1: no TLS offered, clear text allowed", options(auth(testnsqd.AuthOK)),
			conn.Config{TLS: good, AuthSecret: secret, AllowPlaintextAuth: true}, conn.PhaseIdentify, is(conn.ErrNoTLS)},
		{"T2: unknown CA", options(ca.RequireTLS, auth(testnsqd.AuthOK)), over(stranger.ClientConfig()), conn.PhaseTLS, isA[x509.UnknownAuthorityError]},
		{"T2: other name", options(ca.RequireTLS, auth(testnsqd.AuthOK)), over(elsewhere), conn.PhaseTLS, isA[x509.HostnameError]},
		{"T2: expired", options(ca.RequireTLS, func(o *nsqd.Options) { o.TLSCert, o.TLSKey = expired.CertFile, expired.KeyFile }),
			over(good), conn.PhaseTLS, isA[x509.CertificateInvalidError]},
		{"T2: wrong EKU", options(ca.RequireTLS, func(o *nsqd.Options) { o.TLSCert, o.TLSKey = clientOnly.CertFile, clientOnly.KeyFile }),
			over(good), conn.PhaseTLS, isA[x509.CertificateInvalidError]},
		{"T3: no client certificate", options(ca.RequireClientCert, auth(testnsqd.AuthOK)), over(good), conn.PhaseTLS, alert("certificate required")},
		{"T3: a stranger's client certificate", options(ca.RequireClientCert, auth(testnsqd.AuthOK)), over(ca.ClientConfig(stranger.Client)), conn.PhaseTLS, alert("unknown certificate authority")},
		{"TLS required by nsqd alone", options(ca.RequireTLS), conn.Config{AuthSecret: secret}, conn.PhaseSubscribe, code("E_INVALID")},
		{"A1: no secret", options(auth(testnsqd.AuthOK)), conn.Config{}, conn.PhaseAuth, is(conn.ErrAuthRequired)},
		{"A2: wrong secret", options(ca.RequireTLS, auth(testnsqd.AuthForbidden)), over(good), conn.PhaseAuth, code("E_AUTH_FAILED")},
		{"A2: auth server fails", options(ca.RequireTLS, auth(testnsqd.AuthError)), over(good), conn.PhaseAuth, code("E_AUTH_FAILED")},
		{"A2: auth server talks garbage", options(ca.RequireTLS, auth(testnsqd.AuthGarbage)), over(good), conn.PhaseAuth, code("E_AUTH_FAILED")},
		{"A2: auth server is slow", options(ca.RequireTLS, auth(testnsqd.AuthSlow), func(o *nsqd.Options) { o.HTTPClientRequestTimeout = 200 * time.Millisecond }),
			over(good), conn.PhaseAuth, code("E_AUTH_FAILED")},
		{"A2: no permissions", options(ca.RequireTLS, auth(testnsqd.AuthEmpty)), over(good), conn.PhaseAuth, code("E_UNAUTHORIZED")},
		{"A3: permissions for another topic", options(ca.RequireTLS, auth(testnsqd.AuthOtherTopic)), over(good), conn.PhaseSubscribe, code("E_UNAUTHORIZED")},
		{"A6: clear text", options(auth(testnsqd.AuthOK)), conn.Config{AuthSecret: secret}, conn.PhaseAuth, is(conn.ErrPlaintextAuth)},
		{"A6: AUTH not asked for", options(ca.RequireTLS),
			conn.Config{TLS: good, AuthSecret: secret, RequireAuth: true}, conn.PhaseIdentify, is(conn.ErrAuthNotRequired)},
		{"no compression offered", options(func(o *nsqd.Options) { o.SnappyEnabled = false }, ca.RequireTLS),
			conn.Config{TLS: good, AuthSecret: secret, Compression: conn.Snappy}, conn.PhaseIdentify, is(conn.ErrNoCompression)},
	}
}

// alert matches nsqd's TLS alert.
func alert(text string) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*net.OpError](err)
		return ok && e.Op == "remote error" && strings.Contains(e.Error(), text)
	}
}

// TestRefusals: each mismatch fails closed with a typed error, is not retried in a storm, and
// reveals no secret.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const watched = 400 * time.Millisecond // in a storm there would be many dials by then
	for _, tt := range refusals(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, tt.nsqd...)
			p := testnsqd.StartProxy(t, s.Addr())
			var wire, log logBuffer
			p.Tap(func(_ testnsqd.Direction, b []byte) []byte {
				wire.Write(b)
				return b
			})
			var calls atomic.Int64
			w := new(watch)
			c := newConsumer(t, func(context.Context, string) error { calls.Add(1); return nil },
				nsqx.WithNSQD(p.Addr()), nsqx.WithConn(tt.conn), nsqx.WithHooks(w.hooks()), nsqx.WithLogger(log.logger()))
			publish(t, s, topic, []byte("not for you"))
			r := start(t, c)
			eventually(t, func() bool { return len(w.events(&w.dialErrors)) > 0 }, "a failed dial")
			time.Sleep(watched)

			ev, stats := w.events(&w.dialErrors)[0], c.Stats()
			r.mustStop()
			for _, err := range []error{ev.Err, stats.Connections[0].LastErr} {
				e, ok := errors.AsType[*conn.Error](err)
				if !ok || e.Addr != p.Addr() || e.Phase != tt.phase || !e.Permanent() || !tt.want(err) {
					t.Fatalf("error is %v (%T), want one of phase %s", err, err, tt.phase)
				}
			}
			t.Log(ev.Err)
			if ev.Retry < 5*time.Second || p.Accepted() != 1 || stats.Connections[0].Dials != 1 {
				t.Errorf("next dial after %v; %d connections and %+v after %v", ev.Retry, p.Accepted(), stats.Connections[0], watched)
			}
			if calls.Load() > 0 || len(w.events(&w.connects)) > 0 || s.Channel(topic, channel).Depth != 1 {
				t.Error("a message was delivered")
			}
			if !strings.Contains(log.String(), p.Addr()) || !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("log is %s", log.String())
			}
			shown := []string{wire.String(), log.String(), fmt.Sprintf("%+v %#v", tt.conn, tt.conn)}
			for _, v := range []any{ev, ev.Err, stats, errors.Unwrap(ev.Err)} {
				text, err := json.Marshal(v)
				if err != nil {
					t.Error(err)
				}
				shown = append(shown, string(text), fmt.Sprintf("%v %+v %#v", v, v, v))
			}
			for _, s := range shown {
				if strings.Contains(s, canary[:12]) {
					t.Errorf("the secret is in %.300q", s)
				}
			}
			if tt.conn.TLS != nil && (strings.Contains(wire.String(), "AUTH") || strings.Contains(wire.String(), "SUB ")) {
				t.Error("AUTH or SUB was sent without TLS")
			}
		})
	}
}

// TestUnreachableF1: no nsqd listens at first.
func TestUnreachableF1(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	p := testnsqd.StartProxy(t, s.Addr())
	p.Refuse()
	book, w := newLedger(), new(watch)
	c := newConsumer(t, func(_ context.Context, body string) error {
		book.succeed(body)
		return nil
	}, nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()))
	publish(t, s, topic, []byte("m"))
	began := time.Now()
	r := start(t, c)
	eventually(t, func() bool { return len(w.events(&w.dialErrors)) >= 3 }, "three failed dials")
	spent := time.Since(began)
	if err := c.Healthy(); !errors.Is(err, nsqx.ErrNoNSQD) {
		t.Errorf("healthy: %v", err)
	}
	p.Allow()
	book.wait(t, 1)
	finished(t, s, c, 1)
	r.mustStop()

	var want time.Duration // jitter included
	for i, ev := range w.events(&w.dialErrors) {
		e, ok := errors.AsType[*conn.Error](ev.Err)
		if !ok || e.Phase != conn.PhaseDial || e.Permanent() || ev.Retry < 50*time.Millisecond<<i {
			t.Errorf("dial %d failed with %v, the next after %v", i+1, ev.Err, ev.Retry)
		}
		if i < 2 {
			want += ev.Retry
		}
	}
	if spent < want {
		t.Errorf("three dials in %v, want %v at least", spent, want)
	}
}

// TestSecretRotatesA5: each connection calls AuthSecret again.
func TestSecretRotatesA5(t *testing.T) {
	t.Parallel()
	ca, auth := testnsqd.NewAuthority(t), testnsqd.StartAuth(t)
	s := testnsqd.Start(t, ca.RequireTLS, auth.Require)
	p := testnsqd.StartProxy(t, s.Addr())
	var onWire logBuffer
	p.Tap(func(_ testnsqd.Direction, b []byte) []byte {
		onWire.Write(b)
		return b
	})
	var n atomic.Int64
	w := new(watch)
	c := newConsumer(t, func(context.Context, string) error { return nil },
		nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()), nsqx.WithConn(conn.Config{
			TLS:        ca.ClientConfig(),
			AuthSecret: func(context.Context) (string, error) { return fmt.Sprint(canary, n.Add(1)), nil },
		}))
	r := start(t, c)
	w.connected(t, 1)
	p.Cut()
	w.connected(t, 2)
	r.mustStop()
	if got, want := auth.Secrets(), []string{canary + "1", canary + "2"}; !slices.Equal(got, want) {
		t.Errorf("nsqd was given %q, want %q", got, want)
	}
	if bytes.Contains([]byte(onWire.String()), []byte(canary)) {
		t.Error("a secret went over the wire in clear text")
	}
}

// TestPlaintextAuthAllowed proves that the taps of this file would see the secret.
func TestPlaintextAuthAllowed(t *testing.T) {
	t.Parallel()
	auth := testnsqd.StartAuth(t)
	s := testnsqd.Start(t, auth.Require)
	p := testnsqd.StartProxy(t, s.Addr())
	var wire logBuffer
	p.Tap(func(_ testnsqd.Direction, b []byte) []byte {
		wire.Write(b)
		return b
	})
	w := new(watch)
	c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()),
		nsqx.WithConn(conn.Config{AuthSecret: secret, AllowPlaintextAuth: true}))
	r := start(t, c)
	w.connected(t, 1)
	r.mustStop()
	if !strings.Contains(wire.String(), canary) {
		t.Error("the tap has not seen the secret")
	}
}
