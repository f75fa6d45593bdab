// Package pipe provides connections in memory for tests. Package nsqxtest exports them to users;
// they are not part of it, so tests of the packages that nsqxtest imports can use them.
package pipe

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Conn is one end of a pipe. Unlike [net.Pipe] it behaves like TCP: writes are buffered, and each
// direction can be closed separately. It is safe for concurrent use, and the bytes of one Write
// stay together. Errors are *[net.OpError], except io.EOF.
type Conn struct {
	in, out       *stream
	local, remote address
}

var _ net.Conn = (*Conn)(nil)

// New returns the two ends of a connection in memory. Each direction buffers 64 KiB; see
// [Conn.SetBuffer]. A pipe has no goroutine. Close both ends.
//
// Under testing/synctest every blocked method is durably blocked, and deadlines follow the bubble's
// clock. Use a pipe only in the bubble that made it.
func New() (client, server *Conn) {
	up, down := newStream(), newStream()
	client = &Conn{in: down, out: up, local: "client", remote: "server"}
	server = &Conn{in: up, out: down, local: "server", remote: "client"}
	return client, server
}

// Read reads buffered bytes, and waits for at least one. It fails with
//
//   - io.EOF when the peer has closed or half-closed and all bytes are read,
//   - syscall.ECONNRESET as soon as the peer has reset,
//   - os.ErrDeadlineExceeded after the read deadline, even if bytes are buffered,
//   - net.ErrClosed after Close.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

// Write returns when all of p is buffered, and waits for the peer while the buffer is full. With an
// error, n is the number of bytes buffered before it. Write fails with
//
//   - syscall.EPIPE after CloseWrite, or when the peer has closed (TCP may accept a few writes
//     first),
//   - syscall.ECONNRESET when the peer has reset,
//   - os.ErrDeadlineExceeded after the write deadline,
//   - net.ErrClosed after Close.
func (c *Conn) Write(p []byte) (n int, err error) {
	n, err = c.out.write(p)
	return n, c.opError("write", err)
}

// CloseWrite closes the writing side: the peer reads the buffered bytes, then io.EOF. Reading is
// not affected. A second call does nothing. CloseWrite fails with net.ErrClosed after Close, and
// with syscall.ENOTCONN when the peer has reset.
func (c *Conn) CloseWrite() error {
	return c.opError("close", c.out.closeWrite())
}

// Close closes both directions and wakes blocked calls. The peer can still read the buffered bytes,
// then io.EOF. Unread bytes of the peer are discarded. A second call fails with net.ErrClosed.
//
// TCP resets a connection that is closed with unread input, and the peer loses its unread bytes.
// Close does not, so tests do not depend on timing. Call [Conn.Reset] to simulate a reset.
func (c *Conn) Close() error {
	// Reader first: a peer that reads EOF must not be able to write any more.
	if !c.in.closeReader() {
		return c.opError("close", net.ErrClosed)
	}
	c.out.closeWriter()
	return nil
}

// Reset closes c like a TCP reset: unread bytes of both sides are discarded, and the peer's reads
// and writes fail with syscall.ECONNRESET at once. It may follow a Close.
func (c *Conn) Reset() {
	c.in.abortReader()
	c.out.abortWriter()
}

// SetBuffer sets the number of written bytes that c buffers until the peer reads them. 0 or less
// means the default, 64 KiB. Bytes already buffered stay, even beyond n.
func (c *Conn) SetBuffer(n int) { c.out.setLimit(n) }

// LocalAddr returns an address of network "pipe".
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns an address of network "pipe".
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline calls SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the time at which reads fail, including blocked ones. The zero time means
// never. It fails with net.ErrClosed after Close.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.opError("set", c.in.setReadDeadline(t))
}

// SetWriteDeadline sets the time at which writes fail, including blocked ones. The zero time means
// never. It fails with net.ErrClosed after Close.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.opError("set", c.out.setWriteDeadline(t))
}

func (c *Conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

type address string

func (a address) Network() string { return "pipe" }
func (a address) String() string  { return string(a) }
