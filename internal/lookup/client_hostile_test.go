// Tests of client.go against servers that send too much, too slowly or nothing.

package lookup_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/lookup"
)

// L2, and the 1xx flood of L3.
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
		}, 200, "larger than 1048576 bytes"},
		"endless white space": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n")
			write(nc, strings.Repeat(" ", 10_000))
		}, 200, "larger than 1048576 bytes"},
		"1 GB announced": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			write(nc, strings.Repeat(" ", 10_000))
		}, 200, "larger than 1048576 bytes"},
		"gzip bomb": {func(nc net.Conn) {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
			bomb := gzip.NewWriter(nc)
			sent := write(bomb, strings.Repeat(" ", 1<<20))
			if int64(sent) > 1<<32 {
				t.Errorf("%d bytes were read", sent)
			}
		}, 200, "larger than 1048576 bytes"},
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

// L4: a poll ends with its context, or with the timeout of the caller's client.
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

// net/http does not end the body of a 101 with the context.
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

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := raw(t, func(nc net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, nc)
	})
	c := client(t, addr, lookup.Config{})
	for range 2 { // during the poll, and before it
		if _, err := c.Nodes(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

// L5.
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
