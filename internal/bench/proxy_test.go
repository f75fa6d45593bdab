package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// startEcho serves one connection: it echoes what it reads, and then closes.
func startEcho(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(conn, conn)
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	return l.Addr().String()
}

// dialThrough connects to an echo server through a proxy process.
func dialThrough(t *testing.T, j job) *net.TCPConn {
	t.Helper()
	j.Role, j.Addrs = "proxy", []string{startEcho(t)}
	proxy, err := start(context.WithoutCancel(t.Context()), j) // the cleanup ends it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.close(); err != nil {
			t.Error(err)
		}
	})
	var addrs []string
	if err := proxy.read(&addrs); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// TestProxy: bytes arrive complete, in order, with EOF, and no earlier than the delay allows.
func TestProxy(t *testing.T) {
	for _, test := range []struct {
		name  string
		j     job
		size  int
		least time.Duration
	}{
		{"far", job{RTT: 30 * time.Millisecond}, 10, 30 * time.Millisecond},
		{"far and much", job{RTT: 30 * time.Millisecond}, 10_000_000, 30 * time.Millisecond},
		{"slow", job{Mbit: 80}, 500_000, 50 * time.Millisecond}, // 10 MB/s
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := dialThrough(t, test.j)
			sent := make([]byte, test.size)
			for i := range sent {
				sent[i] = byte(i * i >> 3)
			}
			written := make(chan error, 1)
			began := time.Now()
			go func() {
				if _, err := conn.Write(sent); err != nil {
					written <- err
					return
				}
				written <- conn.CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < test.least {
				t.Errorf("took %v, want at least %v", took, test.least)
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back, not the %d that were sent", len(got), len(sent))
			}
		})
	}
}
