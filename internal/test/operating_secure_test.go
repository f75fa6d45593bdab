package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
)

// permissionWithdrawn: nsqd asks the auth server at SUB only, so a connection outlives its permission.
func permissionWithdrawn(t *testing.T) *scene {
	s, withdrawn := newScene(t, 1, 0, nsqxtest.WithAuth("right")), new(atomic.Bool)
	s.servers[0].On("AUTH", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
		if withdrawn.Load() {
			return nsqxtest.Fail("E_AUTH_FAILED AUTH failed")
		}
		return nsqxtest.Proceed()
	})
	s.consume(works, nsqx.WithConn(conn.Config{
		AuthSecret: func(context.Context) (string, error) { return "right", nil }, AllowPlaintextAuth: true,
	}))
	withdrawn.Store(true)
	time.Sleep(time.Hour)
	s.servers[0].Stop()
	s.servers[0].Start("")
	time.Sleep(100 * time.Second)
	withdrawn.Store(false)
	time.Sleep(time.Minute)
	return s
}

// certificateExpires: a connection outlives the certificate of its nsqd.
func certificateExpires(t *testing.T) *scene {
	const addr = "nsqd-1.test:4150"
	began, s := time.Now(), &scene{textLog: new(textLog), t: t}
	first := selfSigned(t, "nsqd-1.test", began.Add(-time.Hour), began.Add(time.Hour))
	second := selfSigned(t, "nsqd-1.test", began.Add(-time.Hour), began.Add(24*time.Hour))
	roots, certificate := x509.NewCertPool(), new(atomic.Pointer[tls.Certificate])
	roots.AddCert(first.Leaf)
	roots.AddCert(second.Leaf)
	certificate.Store(&first)
	network := fake.NewNetwork(t, func(p *fake.Peer) {
		p.Identify(map[string]any{"tls_v1": true})
		if p.UpgradeTLS(&tls.Config{Certificates: []tls.Certificate{*certificate.Load()}}) != nil {
			return
		}
		p.Expect("SUB")
		p.Response("OK")
		for range 4 * 90 { // an hour and a half
			time.Sleep(15 * time.Second)
			p.Heartbeat()
			if p.WriteErr() != nil {
				return
			}
		}
	})
	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[int](), works, nsqx.WithNSQD(addr), nsqx.WithLogger(s.logger()),
		nsqx.WithConn(conn.Config{TLS: &tls.Config{RootCAs: roots}, DialContext: network.DialContext}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() { // the script does not answer CLS
		cancel()
		<-ended
	})
	time.Sleep(92 * time.Minute)
	certificate.Store(&second)
	time.Sleep(time.Minute)
	return s
}

// selfSigned returns a certificate that is valid for a host and a time.
func selfSigned(t *testing.T, host string, from, to time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(to.UnixNano()), DNSNames: []string{host}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
