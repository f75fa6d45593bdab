package conn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

const address = "nsqd-1:4150"

// orders has a fixed RDY; the window has tests of its own.
var orders = &conn.Subscription{Topic: "orders", Channel: "billing", FixedRDY: true}

// shake runs a handshake against a script, in a bubble. After a failure it checks that the socket
// is closed.
func shake(t *testing.T, ctx context.Context, cfg conn.Config, sub *conn.Subscription, script func(p *fake.Peer)) (*conn.Handshaken, error) {
	t.Helper()
	n := fake.NewNetwork(t, script)
	var nc net.Conn
	cfg.DialContext = func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
		nc, err = n.DialContext(ctx, network, addr)
		return nc, err
	}
	hs, err := conn.Handshake(ctx, address, cfg, sub)
	if err != nil {
		if nc != nil {
			if _, err := nc.Write(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the socket is open after a failed handshake: %v", err)
			}
		}
		return nil, err
	}
	t.Cleanup(func() {
		_ = hs.Conn.Close()
		synctest.Wait() // the script must read to the end before the network's cleanup
	})
	return hs, nil
}

// wantError checks address, phase and Permanent, and returns the *Error.
func wantError(t *testing.T, err error, phase conn.Phase, permanent bool) *conn.Error {
	t.Helper()
	failure, ok := err.(*conn.Error)
	if !ok {
		t.Fatalf("error is %T %v, want *conn.Error", err, err)
	}
	if failure.Addr != address || failure.Phase != phase || failure.Permanent() != permanent {
		t.Errorf("error is %v (phase %s, permanent %v); want phase %s, permanent %v", err, failure.Phase, failure.Permanent(), phase, permanent)
	}
	return failure
}

// bubbles runs f as a subtest in a bubble. The bubble fails if a goroutine is left.
func bubbles(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// authority is a CA whose certificates are valid in a bubble's time (from 2000) and today.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	issued := a.issue(func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.DNSNames, c.ExtKeyUsage = true, true, nil, nil
		c.KeyUsage = x509.KeyUsageCertSign
	})
	a.cert, a.key = issued.Leaf, issued.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue returns a certificate for nsqd-1, signed by the authority; the first one is self-signed.
func (a *authority) issue(change func(c *x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     []string{"nsqd-1"},
		NotBefore:    time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// client returns a config that trusts the authority.
func (a *authority) client() *tls.Config { return &tls.Config{RootCAs: a.pool()} }

// server returns the config of nsqd-1.
func (a *authority) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue(nil)}}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pattern returns a body that differs for each n and at each offset.
func pattern(n uint64, size int) []byte {
	b := make([]byte, 0, size+8)
	for x := n*0x9e3779b97f4a7c15 + 1; len(b) < size; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b[:size]
}

var errReason = errors.New("the reason")

func secret(s string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, nil }
}

// answering answers IDENTIFY with any bytes.
func answering(answer string) func(p *fake.Peer) {
	return func(p *fake.Peer) {
		p.Magic()
		p.Expect("IDENTIFY")
		p.Response(answer)
	}
}

func label(answer string) string { return answer[:min(len(answer), 40)] }

// upTo plays an nsqd with AUTH up to the command that begins a phase.
func upTo(phase conn.Phase, p *fake.Peer) bool {
	p.Magic()
	p.Expect("IDENTIFY")
	if phase == conn.PhaseIdentify {
		return true
	}
	p.Response(`{"auth_required":true}`)
	p.Expect("AUTH")
	if phase == conn.PhaseAuth {
		return true
	}
	p.Response(`{"identity":"me","identity_url":"","permission_count":1}`)
	p.Expect("SUB")
	return p.WriteErr() == nil
}

func dialling(nc net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return nc, nil }
}

func isErr[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// wantIs checks an error with errors.Is.
func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error is %v, want %v", err, target)
	}
}

// wantCause checks the cause of ctx; nil means that ctx has not ended.
func wantCause(t *testing.T, ctx context.Context, want error) {
	t.Helper()
	if got := context.Cause(ctx); got != want {
		t.Errorf("cause of the context's end is %v, want %v", got, want)
	}
}

func fin(n uint64) string { return "FIN " + fake.ID(n) }

func req(n uint64, ms int64) string { return fmt.Sprintf("REQ %s %d", fake.ID(n), ms) }

func touch(n uint64) string { return "TOUCH " + fake.ID(n) }
