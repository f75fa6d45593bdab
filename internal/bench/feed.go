package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// feed is a pipelined publishing connection. nsqd answers each command with OK.
type feed struct {
	conn    net.Conn
	raw     syscall.RawConn
	in      []byte
	have    int // bytes of in: an incomplete response
	pending int
}

var okFrame = responseFrame("OK")

// dialFeed connects without heartbeats, so that nsqd sends only OKs.
func dialFeed(ctx context.Context, addr string) (*feed, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	f := &feed{conn: conn, in: make([]byte, 64<<10)}
	f.raw, err = conn.(*net.TCPConn).SyscallConn()
	err = errors.Join(err, conn.SetDeadline(time.Now().Add(lapTimeout)),
		f.send([]byte("  V2IDENTIFY\n\x00\x00\x00\x19"+`{"heartbeat_interval":-1}`)))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return f, nil
}

func (f *feed) send(command []byte) error { return f.sendAll(command, 1) }

// sendAll sends n commands with one write.
func (f *feed) sendAll(commands []byte, n int) error {
	f.pending += n
	_, err := f.conn.Write(commands)
	return err
}

// settle waits for all OKs.
func (f *feed) settle() error {
	for f.pending > 0 {
		if err := f.receive(); err != nil {
			return err
		}
	}
	return nil
}

// receive waits for the next bytes.
func (f *feed) receive() error {
	n, err := f.conn.Read(f.in[f.have:])
	return errors.Join(f.countOKs(n), err)
}

// poll reads what has arrived, without waiting.
func (f *feed) poll() error {
	var n int
	var err error
	if failed := f.raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), f.in[f.have:])
		return true
	}); failed != nil {
		return failed
	}
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return nil
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	default:
		return f.countOKs(n)
	}
}

// countOKs counts the OKs in the next n bytes of in.
func (f *feed) countOKs(n int) error {
	rest := f.in[:f.have+n]
	for len(rest) >= len(okFrame) {
		if !bytes.HasPrefix(rest, okFrame) {
			return fmt.Errorf("bench: nsqd answers %q, not OK", rest)
		}
		rest = rest[len(okFrame):]
		f.pending--
	}
	f.have = copy(f.in, rest)
	return nil
}

func (f *feed) close() { f.conn.Close() }
