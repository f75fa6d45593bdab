package main

import (
	"net"
	"strings"
	"testing"
)

// newFeed returns a feed, connected, and nsqd's end of it.
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

// An OK may come in pieces, and must come for each command.
func TestFeed(t *testing.T) {
	f, peer := newFeed(t)
	if err := f.glance(); err != nil || f.owed != 1 {
		t.Fatalf("a glance at nothing: %v, owed %d; want nil, 1", err, f.owed)
	}
	if err := f.send([]byte("NOP\n")); err != nil {
		t.Fatal(err)
	}
	write(t, peer, okFrame[:3])
	for f.have == 0 { // until it has arrived
		if err := f.glance(); err != nil {
			t.Fatal(err)
		}
	}
	if f.owed != 2 || f.have != 3 {
		t.Fatalf("owed %d, %d bytes of another; want 2, 3", f.owed, f.have)
	}
	write(t, peer, okFrame[3:])
	write(t, peer, okFrame)
	if err := f.settle(); err != nil || f.owed != 0 || f.have != 0 {
		t.Errorf("%v, owed %d, %d bytes of another; want nil, 0, 0", err, f.owed, f.have)
	}
}

// Whatever is not an OK is an error.
func TestFeedFaults(t *testing.T) {
	for name, settle := range map[string]func(f *feed) error{
		"settle": (*feed).settle,
		"glance": func(f *feed) (err error) {
			for err == nil {
				err = f.glance()
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
