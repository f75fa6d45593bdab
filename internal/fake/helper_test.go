package fake_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/pipe"
)

// recorder is a testing.TB that keeps the errors and cleanups of a script.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) wantOne(t *testing.T, part string) {
	t.Helper()
	if len(r.errors) != 1 || !strings.Contains(r.errors[0], part) {
		t.Errorf("failures %q, want one with %q", r.errors, part)
	}
}

// peer returns a Peer whose client has written input and then closed its side.
func peer(tb testing.TB, input string) (*fake.Peer, *pipe.Conn) {
	client, server := pipe.New()
	_, _ = io.WriteString(client, input)
	_ = client.CloseWrite()
	return fake.NewPeer(tb, server), client
}

func body(s string) string { return string([]byte{0, 0, byte(len(s) >> 8), byte(len(s))}) + s }

func lines(log []fake.Command) (out []string) {
	for _, cmd := range log {
		out = append(out, cmd.String())
	}
	return out
}

func dial(t *testing.T, n *fake.Network) net.Conn {
	t.Helper()
	nc, err := n.DialContext(context.Background(), "tcp", "nsqd-1:4150")
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func wantAll(t *testing.T, r io.Reader, want string) {
	t.Helper()
	if got, err := io.ReadAll(r); string(got) != want || err != nil {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

// layer is TLS or compression: the server's side by fake, the client's side without it.
type layer struct {
	name   string
	server func(p *fake.Peer)
	client func(rw io.ReadWriter) (r io.Reader, w io.Writer, end func())
}

func layers(t *testing.T) []layer {
	server, client := certificate(t)
	return []layer{
		{"tls", func(p *fake.Peer) {
			if err := p.UpgradeTLS(server); err != nil {
				t.Errorf("server's handshake: %v", err)
			}
		}, func(rw io.ReadWriter) (io.Reader, io.Writer, func()) {
			conn := tls.Client(rw.(net.Conn), client)
			return conn, conn, func() { _ = conn.CloseWrite() }
		}},
		{"snappy", (*fake.Peer).UpgradeSnappy, func(rw io.ReadWriter) (io.Reader, io.Writer, func()) {
			w := snappy.NewBufferedWriter(rw)
			return snappy.NewReader(rw), w, func() { _ = w.Close() }
		}},
		{"deflate", (*fake.Peer).UpgradeDeflate, func(rw io.ReadWriter) (io.Reader, io.Writer, func()) {
			w, _ := flate.NewWriter(rw, 1)
			return flate.NewReader(rw), w, func() { _ = w.Flush() }
		}},
	}
}

func flush(w io.Writer) {
	if f, ok := w.(interface{ Flush() error }); ok {
		_ = f.Flush()
	}
}

func wantFrame(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// certificate is valid now and in the time of a bubble, which starts in 2000.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"nsqd.test"},
		NotBefore:    time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{ServerName: "nsqd.test", RootCAs: pool}
}
