package lookup_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nsqx/nsqx/internal/lookup"
)

// A proxy may compress.
func TestGzip(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, nodes(node("a", 4150)))
		z.Close()
	})
	got, err := client(t, server.URL, lookup.Config{}).Nodes(t.Context())
	if err != nil || len(got.Addrs) != 1 {
		t.Errorf("%+v, error %v", got, err)
	}
}

// A TLS handshake without an answer ends with the poll. http.Transport would continue it.
func TestTLSHandshakeEnds(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() {
		nc, err := l.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, nc) // until the client closes
			nc.Close()
		}
		closed <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = client(t, "https://"+l.Addr().String(), lookup.Config{}).Nodes(ctx)
	timedOut(t, err)
	select {
	case err := <-closed:
		if err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
	case <-time.After(3 * time.Second): // http.Transport's handshake timeout is 5 s
		t.Error("the connection is still open")
		<-closed
	}
	l.Close()
	goleak.VerifyNone(t, before)
}

func TestTLS(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(nodes(node("a", 4150)))) }
	plain := serve(t, handler)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)

	_, err := client(t, strings.Replace(plain.URL, "http:", "https:", 1), lookup.Config{}).Nodes(t.Context())
	lookupError(t, err, 0, "server gave HTTP response to HTTPS client")
	_, err = client(t, strings.Replace(secure.URL, "https:", "http:", 1), lookup.Config{}).Nodes(t.Context())
	lookupError(t, err, http.StatusBadRequest, "Client sent an HTTP request to an HTTPS server")
	_, err = client(t, secure.URL, lookup.Config{}).Nodes(t.Context())
	lookupError(t, err, 0, "certificate")
	var unknown *tls.CertificateVerificationError
	if !errors.As(err, &unknown) {
		t.Errorf("error %v", err)
	}
	got, err := client(t, secure.URL, lookup.Config{HTTPClient: secure.Client()}).Nodes(t.Context())
	if err != nil || len(got.Addrs) != 1 {
		t.Errorf("with the caller's roots: %+v, error %v", got, err)
	}
	secure.Client().CloseIdleConnections()
}
