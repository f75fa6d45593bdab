// Tests of auth.go and certs.go.

package testnsqd_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

func TestTLS(t *testing.T) {
	ca, other := testnsqd.NewAuthority(t), testnsqd.NewAuthority(t)
	expired := ca.Issue("expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	serveExpired := func(o *nsqd.Options) { o.TLSCert, o.TLSKey = expired.CertFile, expired.KeyFile }

	for _, tt := range []struct {
		name   string
		serve  func(*nsqd.Options)
		client *testnsqd.Authority
		cert   []testnsqd.Pair
		fails  string // part of the error; empty for none
	}{
		{"trusted", ca.RequireTLS, ca, nil, ""},
		{"unknown authority", ca.Serve, other, nil, "unknown authority"},
		{"expired", serveExpired, ca, nil, "expired"},
		{"client certificate", ca.RequireClientCert, ca, []testnsqd.Pair{ca.Client}, ""},
		{"no client certificate", ca.RequireClientCert, ca, nil, "certificate required"},
		{"client certificate of another authority", ca.RequireClientCert, ca, []testnsqd.Pair{other.Client}, "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := testnsqd.Start(t, tt.serve)
			c := dial(t, s.Addr())
			if answer := c.identify(`{"feature_negotiation":true,"tls_v1":true}`); !strings.Contains(answer, `"tls_v1":true`) {
				t.Fatalf("no TLS offered: %s", answer)
			}
			err := c.startTLS(tt.client.ClientConfig(tt.cert...))
			if err == nil {
				// With TLS 1.3, a refused client certificate shows at the first read.
				var kind int32
				var data []byte
				if kind, data, err = c.frame(); err == nil && (kind != frameResponse || string(data) != "OK") {
					t.Fatalf("over TLS: frame type %d, %q", kind, data)
				}
			}
			switch {
			case tt.fails == "" && err != nil:
				t.Errorf("TLS: %v", err)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Errorf("TLS: got error %v, want one with %q", err, tt.fails)
			}
		})
	}
}

func TestRequireTLSRefusesPlain(t *testing.T) {
	s := testnsqd.Start(t, testnsqd.NewAuthority(t).RequireTLS)
	c := dial(t, s.Addr())
	c.identify(`{}`)
	c.send("SUB orders billing\n")
	c.expect("E_INVALID")
}

func TestAuth(t *testing.T) {
	for _, tt := range []struct {
		name      string
		mode      testnsqd.AuthMode
		auth, sub string // prefixes of the answers; without sub no SUB is sent
	}{
		{"ok", testnsqd.AuthOK, `{"identity":"test"`, "OK"},
		{"forbidden", testnsqd.AuthForbidden, "E_AUTH_FAILED", ""},
		{"error", testnsqd.AuthError, "E_AUTH_FAILED", ""},
		{"slow", testnsqd.AuthSlow, "E_AUTH_FAILED", ""},
		{"garbage", testnsqd.AuthGarbage, "E_AUTH_FAILED", ""},
		{"empty", testnsqd.AuthEmpty, "E_UNAUTHORIZED", ""},
		{"other topic", testnsqd.AuthOtherTopic, `{"identity":"test"`, "E_UNAUTHORIZED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := testnsqd.StartAuth(t)
			a.SetMode(tt.mode)
			s := testnsqd.Start(t, a.Require, func(o *nsqd.Options) {
				if tt.mode == testnsqd.AuthSlow {
					o.HTTPClientRequestTimeout = 20 * time.Millisecond
				}
			})
			c := dial(t, s.Addr())
			if answer := c.identify(`{"feature_negotiation":true}`); !strings.Contains(answer, `"auth_required":true`) {
				t.Fatalf("no AUTH demanded: %s", answer)
			}
			c.body("AUTH", "canary")
			c.expect(tt.auth)
			if got := a.Secrets(); !slices.Equal(got, []string{"canary"}) {
				t.Errorf("secrets: %q", got)
			}
			if tt.sub != "" {
				c.send("SUB orders billing\n")
				c.expect(tt.sub)
			}
		})
	}
}

func TestAuthIsAskedAgainAfterItsTTL(t *testing.T) {
	a := testnsqd.StartAuth(t)
	a.SetTTL(1)
	s := testnsqd.Start(t, a.Require)
	c := dial(t, s.Addr())
	c.identify(`{"feature_negotiation":true}`)
	c.body("AUTH", "canary")
	c.expect("{")
	a.SetMode(testnsqd.AuthError)
	testnsqd.Eventually(t, waitTimeout, func() bool {
		c.body("PUB orders", "x")
		_, data, err := c.frame()
		if err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(string(data), "E_AUTH_FAILED")
	}, "nsqd to ask again")
}
