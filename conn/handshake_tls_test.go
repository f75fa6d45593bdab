package conn_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of the TLS phase of handshake.go.

// upgrading plays an nsqd with TLS.
func upgrading(server *tls.Config) func(p *fake.Peer) {
	return func(p *fake.Peer) {
		p.Identify(map[string]any{"tls_v1": true})
		if p.UpgradeTLS(server) == nil {
			if _, err := p.Next(); err == nil {
				p.Response("OK")
			}
		}
	}
}

// TestServerCertificateT2 checks that certificate errors are permanent.
func TestServerCertificateT2(t *testing.T) {
	a := newAuthority(t)
	issued := func(change func(c *x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{a.issue(change)}}
	}
	old := a.server()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	tests := map[string]struct {
		client, server *tls.Config
		want           string // "": works
	}{
		"good":                           {a.client(), a.server(), ""},
		"TLS 1.2":                        {&tls.Config{RootCAs: a.pool(), MaxVersion: tls.VersionTLS12}, a.server(), ""},
		"name given":                     {&tls.Config{RootCAs: a.pool(), ServerName: "other"}, issued(func(c *x509.Certificate) { c.DNSNames = []string{"other"} }), ""},
		"unknown CA":                     {newAuthority(t).client(), a.server(), "unknown authority"},
		"wrong name":                     {a.client(), issued(func(c *x509.Certificate) { c.DNSNames = []string{"other"} }), "not nsqd-1"},
		"other name":                     {&tls.Config{RootCAs: a.pool(), ServerName: "other"}, a.server(), "not other"},
		"expired":                        {a.client(), issued(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Hour) }), "expired"},
		"wrong EKU":                      {a.client(), issued(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), "key usage"},
		"TLS 1.1":                        {a.client(), old, "protocol version"},
		"TLS 1.1, allowed by the caller": {&tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS10}, old, "protocol version"},
	}
	for name, tt := range tests {
		bubbles(t, name, func(t *testing.T) {
			given := tt.client.Clone()
			hs, err := shake(t, t.Context(), conn.Config{TLS: tt.client}, orders, upgrading(tt.server))
			if tt.client.ServerName != given.ServerName || tt.client.MinVersion != given.MinVersion {
				t.Error("the caller's tls.Config was changed")
			}
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if v := hs.Conn.(*tls.Conn).ConnectionState().Version; v < tls.VersionTLS12 {
					t.Errorf("speaks %s", tls.VersionName(v))
				}
				return
			}
			wantError(t, err, conn.PhaseTLS, true)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
}

// TestClientCertificateT3 checks a refused client certificate. With TLS 1.3 the refusal arrives
// after the handshake.
func TestClientCertificateT3(t *testing.T) {
	a := newAuthority(t)
	tests := map[string]struct {
		certificates []tls.Certificate
		want         string
	}{
		"right": {[]tls.Certificate{a.issue(nil)}, ""},
		"none":  {nil, "remote error: tls: "},
		"wrong": {[]tls.Certificate{newAuthority(t).issue(nil)}, "remote error: tls: "},
	}
	for name, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			bubbles(t, name+", "+tls.VersionName(version), func(t *testing.T) {
				client, server := a.client(), a.server()
				server.MaxVersion, server.ClientAuth, server.ClientCAs = version, tls.RequireAndVerifyClientCert, a.pool()
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if tt.certificates == nil {
						return new(tls.Certificate), nil
					}
					return &tt.certificates[0], nil // even if the server did not ask for it
				}
				_, err := shake(t, t.Context(), conn.Config{TLS: client}, orders, upgrading(server))
				if tt.want == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantError(t, err, conn.PhaseTLS, true)
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error is %v, want %q", err, tt.want)
				}
			})
		}
	}
}

// TestLateAlert refuses the client after the server has answered.
func TestLateAlert(t *testing.T) {
	a := newAuthority(t)
	server := a.server()
	synctest.Test(t, func(t *testing.T) {
		_, err := shake(t, t.Context(), conn.Config{TLS: a.client()}, orders, func(p *fake.Peer) {
			p.Identify(map[string]any{"tls_v1": true})
			if err := p.UpgradeTLS(server); err != nil {
				t.Error(err)
			}
			p.Expect("SUB")
			p.Conn.Write([]byte("\x15\x03\x03\x00\x02\x02\x28")) // not encrypted: a bad record, for which the client sends an alert
			_, _ = io.Copy(io.Discard, p.Conn)
		})
		wantError(t, err, conn.PhaseTLS, true)
	})
}

// TestTLSBroken covers M22 and T5.
func TestTLSBroken(t *testing.T) {
	a := newAuthority(t)
	ok := fake.Frame(0, []byte("OK"))
	server := a.server()
	read := func(p *fake.Peer) { _, _ = io.Copy(io.Discard, p.Conn) }
	tests := map[string]struct {
		script    func(p *fake.Peer)
		permanent bool
	}{
		"plain OK":         {func(p *fake.Peer) { p.Raw(ok); read(p) }, true},
		"alert":            {func(p *fake.Peer) { p.Raw([]byte("\x15\x03\x01\x00\x02\x02\x46")); read(p) }, true},
		"closed":           {func(p *fake.Peer) {}, false},
		"reset":            {func(p *fake.Peer) { _, _ = p.Conn.Read(make([]byte, 1)); p.Reset() }, false},
		"cut in the hello": {func(p *fake.Peer) { p.Raw([]byte("\x16\x03\x03\x00\x7a\x02")) }, false},
		"closed before OK": {func(p *fake.Peer) { _ = tls.Server(p.Conn, server).Handshake() }, false},
		"garbage instead of OK": {func(p *fake.Peer) {
			nc := tls.Server(p.Conn, server)
			if nc.Handshake() == nil {
				_, _ = nc.Write([]byte("\x00\x00\x00\x00"))
			}
		}, true},
	}
	for name, tt := range tests {
		bubbles(t, name, func(t *testing.T) {
			_, err := shake(t, t.Context(), conn.Config{TLS: a.client()}, orders, func(p *fake.Peer) {
				p.Identify(map[string]any{"tls_v1": true})
				tt.script(p)
			})
			wantError(t, err, conn.PhaseTLS, tt.permanent)
		})
	}
}

// TestUnixNeedsServerName checks that a socket path, which has no host name, fails certificate
// verification without ServerName.
func TestUnixNeedsServerName(t *testing.T) {
	a := newAuthority(t)
	server := a.server()
	for name, want := range map[string]bool{"": false, "nsqd-1": true} {
		bubbles(t, "name "+name, func(t *testing.T) {
			n := fake.NewNetwork(t, upgrading(server))
			cfg := conn.Config{DialContext: n.DialContext, TLS: &tls.Config{RootCAs: a.pool(), ServerName: name}}
			hs, err := conn.Handshake(t.Context(), "unix:///run/nsqd.sock", cfg, orders)
			if (err == nil) != want {
				t.Fatalf("error is %v", err)
			}
			if err == nil {
				_ = hs.Conn.Close()
			} else if failure, _ := errors.AsType[*conn.Error](err); failure.Phase != conn.PhaseTLS || !failure.Permanent() {
				t.Errorf("error is %v", err)
			}
		})
	}
}
