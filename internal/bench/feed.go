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

// feed is a connection that publishes, pipelined: nsqd owes it an OK for each command.
type feed struct {
	conn net.Conn
	raw  syscall.RawConn
	in   []byte
	have int // bytes of in: a response that has not arrived whole
	owed int
}

var okFrame = responseFrame("OK")

// dialFeed asks for no heartbeats, so that nothing but OKs is to be read.
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
	f.owed += n
	_, err := f.conn.Write(commands)
	return err
}

// settle waits for all OKs.
func (f *feed) settle() error {
	for f.owed > 0 {
		if err := f.receive(); err != nil {
			return err
		}
	}
	return nil
}

// receive waits for what arrives next.
func (f *feed) receive() error {
	n, err := f.conn.Read(f.in[f.have:])
	return errors.Join(f.took(n), err)
}

// glance takes in what has arrived and waits for nothing.
func (f *feed) glance() error {
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
		return f.took(n)
	}
}

// took counts the OKs in the n bytes that were read.
func (f *feed) took(n int) error {
	rest := f.in[:f.have+n]
	for len(rest) >= len(okFrame) {
		if !bytes.HasPrefix(rest, okFrame) {
			return fmt.Errorf("bench: nsqd answers %q, not OK", rest)
		}
		rest = rest[len(okFrame):]
		f.owed--
	}
	f.have = copy(f.in, rest)
	return nil
}

func (f *feed) close() { f.conn.Close() }
