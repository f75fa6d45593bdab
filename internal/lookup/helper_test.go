package lookup_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nsqx/nsqx/internal/lookup"
)

// client returns a client of addr.
func client(t *testing.T, addr string, cfg lookup.Config) *lookup.Client {
	t.Helper()
	c, err := lookup.NewClient(addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answers serves a status and a body, and returns a client of the server.
func answers(t *testing.T, status int, body string, cfg lookup.Config) *lookup.Client {
	t.Helper()
	return client(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}).URL, cfg)
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// raw calls speak for each connection after its request, and closes the connection when speak
// returns.
func raw(t *testing.T, speak func(nc net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
				speak(nc)
			}
			nc.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// lookupError fails unless err is a *lookup.Error that is safe in a log and has that status and
// text.
func lookupError(t *testing.T, err error, status int, text string) {
	t.Helper()
	var e *lookup.Error
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want status %d and %q", err, status, text)
	}
	loggable(t, err.Error())
}

func loggable(t *testing.T, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "nsqx: nsqlookupd ") || !utf8.ValidString(text) || len(text) > 2000 ||
		strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Fatalf("error %q is not safe in a log", text)
	}
}

// node returns an entry of a list of producers.
func node(host string, port any) string {
	return fmt.Sprintf(`{"remote_address":"10.0.0.9:5","hostname":"h","broadcast_address":%q,"tcp_port":%v,"http_port":4151,"version":"1.3.0"}`, host, port)
}

func nodes(entries ...string) string {
	return `{"channels":["c"],"producers":[` + strings.Join(entries, ",") + `]}`
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// write writes text repeatedly until an error, and returns the number of bytes.
func write(w io.Writer, text string) (n int) {
	for {
		k, err := io.WriteString(w, text)
		n += k
		if err != nil {
			return n
		}
	}
}

// drip writes text repeatedly until an error, one byte a millisecond.
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

func timedOut(t *testing.T, err error) {
	t.Helper()
	var e *lookup.Error
	if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v, want a deadline", err)
	}
	loggable(t, err.Error())
}
