package main

import (
	"net"
	"strings"
	"testing"
)

// newFeed returns a connected feed and nsqd's end of its connection.
func newFeed(t *testing.T) (*feed, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := dialFeed(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return f, peer
}

func write(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// TestFeed: an OK may arrive in pieces, and each command needs one.
func TestFeed(t *testing.T) {
	f, peer := newFeed(t)
	if err := f.poll(); err != nil || f.pending != 1 {
		t.Fatalf("poll without input: %v, pending %d; want nil, 1", err, f.pending)
	}
	if err := f.send([]byte("NOP\n")); err != nil {
		t.Fatal(err)
	}
	write(t, peer, okFrame[:3])
	for f.have == 0 { // until it has arrived
		if err := f.poll(); err != nil {
			t.Fatal(err)
		}
	}
	if f.pending != 2 || f.have != 3 {
		t.Fatalf("pending %d, %d bytes of another; want 2, 3", f.pending, f.have)
	}
	write(t, peer, okFrame[3:])
	write(t, peer, okFrame)
	if err := f.settle(); err != nil || f.pending != 0 || f.have != 0 {
		t.Errorf("%v, pending %d, %d bytes of another; want nil, 0, 0", err, f.pending, f.have)
	}
}

// TestFeedFaults: any other answer is an error.
func TestFeedFaults(t *testing.T) {
	for name, settle := range map[string]func(f *feed) error{
		"settle": (*feed).settle,
		"poll": func(f *feed) (err error) {
			for err == nil {
				err = f.poll()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, peer := newFeed(t)
			write(t, peer, responseFrame("E_BAD_TOPIC"))
			if err := settle(f); err == nil || !strings.Contains(err.Error(), "E_BAD_TOPIC") {
				t.Errorf("%v, want E_BAD_TOPIC", err)
			}
			gone, peer := newFeed(t)
			peer.Close()
			if err := settle(gone); err == nil {
				t.Error("nsqd gone: no error")
			}
		})
	}
}
