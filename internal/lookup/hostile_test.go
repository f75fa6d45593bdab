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

// write repeats text until the peer has enough of it, and returns how many bytes that were.
func write(w io.Writer, text string) (n int) {
	for {
		k, err := io.WriteString(w, text)
		n += k
		if err != nil {
			return n
		}
	}
}

// drip is write, slowly.
func drip(w io.Writer, text string) {
	for {
		for i := range text {
			if _, err := io.WriteString(w, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// TestTooMuch is L2, and the 1xx flood of L3.
func TestTooMuch(t *testing.T) {
	const list = `{"producers":[`
	entry := node("a", 4150) + ","
	tests := map[string]struct {
		speak  func(nc net.Conn)
		status int
		want   string
	}{
		"endless body": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n"+list)
			write(nc, strings.Repeat(entry, 100))
		}, 200, "larger than 1 MiB"},
		"endless white space": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n")
			write(nc, strings.Repeat(" ", 10_000))
		}, 200, "larger than 1 MiB"},
		"1 GB announced": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			write(nc, strings.Repeat(" ", 10_000))
		}, 200, "larger than 1 MiB"},
		"gzip bomb": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
			bomb := gzip.NewWriter(nc)
			sent := write(bomb, strings.Repeat(" ", 1<<20))
			if sent > 1<<32 {
				t.Errorf("%d bytes were taken", sent)
			}
		}, 200, "larger than 1 MiB"},
		"endless error": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 503 x\r\n\r\n")
			write(nc, strings.Repeat("x", 10_000))
		}, 503, "status 503"},
		"endless header": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n")
			write(nc, "A: "+strings.Repeat("x", 1000)+"\r\n")
		}, 0, "exceeded"},
		"header of 100 KB": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 100_000)+"\r\n\r\n"+nodes())
		}, 0, "exceeded"},
		"endless status": {func(nc net.Conn) { write(nc, "HTTP/1.1 200 OK") }, 0, "exceeded"},
		"L3 1xx flood":   {func(nc net.Conn) { write(nc, "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n") }, 0, "exceeded"},
		"L3 100 flood":   {func(nc net.Conn) { write(nc, "HTTP/1.1 100 Continue\r\n\r\n") }, 0, "exceeded"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := client(t, raw(t, tt.speak), lookup.Config{}).Lookup(t.Context(), "orders")
			lookupError(t, err, tt.status, tt.want)
		})
	}
}

// TestGzip is that an honest proxy may compress.
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

// TestTooSlow is L4: all of it ends with the context, or with the timeout of the caller's client.
func TestTooSlow(t *testing.T) {
	tests := map[string]func(nc net.Conn){
		"never answers":  func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) },
		"header dripped": func(nc net.Conn) { drip(nc, "HTTP/1.1 200 OK\r\nA: ") },
		"1xx dripped":    func(nc net.Conn) { drip(nc, "HTTP/1.1 103 x\r\n\r\n") },
		"body dripped": func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n"+`{"producers":[`)
			drip(nc, " ")
		},
		"nothing, compressed": func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
			var empty strings.Builder
			gzip.NewWriter(&empty).Close()
			write(nc, strings.Repeat(empty.String(), 100))
		},
	}
	for name, speak := range tests {
		t.Run(name, func(t *testing.T) {
			addr := raw(t, speak)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := client(t, addr, lookup.Config{}).Lookup(ctx, "orders")
			timedOut(t, err)
			_, err = client(t, addr, lookup.Config{HTTPClient: &http.Client{Timeout: 50 * time.Millisecond}}).Lookup(t.Context(), "orders")
			timedOut(t, err)
		})
	}
}

// TestSwitch is a 101, whose body net/http does not end with the context.
func TestSwitch(t *testing.T) {
	addr := raw(t, func(nc net.Conn) {
		_, _ = io.WriteString(nc, "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, nc)
	})
	for _, hc := range []*http.Client{nil, {}} {
		_, err := client(t, addr, lookup.Config{HTTPClient: hc}).Lookup(t.Context(), "orders")
		lookupError(t, err, http.StatusSwitchingProtocols, "status 101")
	}
}

func timedOut(t *testing.T, err error) {
	t.Helper()
	var e *lookup.Error
	if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want a deadline", err)
	}
	loggable(t, err.Error())
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := raw(t, func(nc net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, nc)
	})
	c := client(t, addr, lookup.Config{})
	for range 2 { // while it is asked, and before
		if _, err := c.Nodes(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

// TestTLSHandshakeEnds is that nothing is left of a poll whose TLS handshake is never answered: http.Transport would let it go on.
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
	case <-time.After(3 * time.Second): // http.Transport's own timeout of a handshake is 5 s
		t.Error("the connection is still open")
		<-closed
	}
	l.Close()
	goleak.VerifyNone(t, before)
}

// TestUnreachable is L5.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = client(t, l.Addr().String(), lookup.Config{}).Nodes(t.Context())
	lookupError(t, err, 0, "nsqx: nsqlookupd "+l.Addr().String()+": dial tcp "+l.Addr().String())
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v", err)
	}

	_, err = client(t, raw(t, func(nc net.Conn) { _ = nc.(*net.TCPConn).SetLinger(0) }), lookup.Config{}).Nodes(t.Context())
	lookupError(t, err, 0, "")

	_, err = client(t, raw(t, func(nc net.Conn) {
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
	}), lookup.Config{}).Nodes(t.Context())
	lookupError(t, err, http.StatusOK, "unexpected EOF")

	_, err = client(t, raw(t, func(nc net.Conn) { _, _ = io.WriteString(nc, "\x00\x00\x00\x0e\x00\x00\x00\x01E_BAD\x1b[2J") }), lookup.Config{}).Nodes(t.Context())
	lookupError(t, err, 0, "")
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
