// Package pipe is a connection in memory, for tests. It is apart from nsqxtest, which shows it to users, so that the tests of
// the packages that nsqxtest imports can use it.
package pipe

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Conn is one end of a pipe. It behaves as a TCP connection does where [net.Pipe] does not: writes go to a
// buffer, and one direction can be closed while the other goes on. Its methods may be called concurrently; the bytes of
// one Write stay together. Errors are *[net.OpError], except io.EOF.
type Conn struct {
	in, out       *stream
	local, remote address
}

var _ net.Conn = (*Conn)(nil)

// New returns the two ends of a connection in memory. Each direction buffers 64 KiB; see [Conn.SetBuffer].
// Close both ends, as with any connection; a pipe has no goroutine of its own.
//
// Under testing/synctest every blocked method is durably blocked, and deadlines follow the bubble's clock. Use a pipe in
// the bubble that made it, and nowhere else.
func New() (client, server *Conn) {
	up, down := newStream(), newStream()
	client = &Conn{in: down, out: up, local: "client", remote: "server"}
	server = &Conn{in: up, out: down, local: "server", remote: "client"}
	return client, server
}

// Read reads what is buffered, and waits for at least one byte if nothing is. It fails with io.EOF once the peer has
// closed or half-closed and all is read, with syscall.ECONNRESET as soon as the peer has reset, with
// os.ErrDeadlineExceeded after the read deadline even if bytes are there, and with net.ErrClosed after Close.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

// Write returns when all of p is in the buffer, and waits for the peer to read while it is full. It fails with
// syscall.EPIPE after CloseWrite or when the peer has closed, with syscall.ECONNRESET when the peer has reset, with
// os.ErrDeadlineExceeded after the write deadline, and with net.ErrClosed after Close; n then says how much went out
// before. (A real TCP connection may take a write or two before it notices that the peer has closed.)
func (c *Conn) Write(p []byte) (n int, err error) {
	n, err = c.out.write(p)
	return n, c.opError("write", err)
}

// CloseWrite closes the writing side: the peer reads what is buffered and then io.EOF. Reading goes on. A second call
// does nothing. It fails with net.ErrClosed after Close and with syscall.ENOTCONN when the peer has reset.
func (c *Conn) CloseWrite() error {
	return c.opError("close", c.out.closeWrite())
}

// Close closes both directions and wakes what is blocked in them. What was written before can still be read by the
// peer, followed by io.EOF; what the peer wrote and nobody read is thrown away. A second call fails with net.ErrClosed.
//
// TCP answers a Close that leaves input unread with a reset, which also takes away what the peer has not read yet.
// Close does not, so that tests do not hang on who was faster; call [Conn.Reset] to play that.
func (c *Conn) Close() error {
	// The order is a promise: who reads the EOF of a Close also sees that writing is over.
	if !c.in.closeReader() {
		return c.opError("close", net.ErrClosed)
	}
	c.out.closeWriter()
	return nil
}

// Reset closes as a TCP reset does: what either side has not read is thrown away, and the peer's reads and writes fail
// with syscall.ECONNRESET at once. Afterwards c is closed. It may follow a Close.
func (c *Conn) Reset() {
	c.in.abortReader()
	c.out.abortWriter()
}

// SetBuffer sets how many bytes c may write ahead of what its peer has read. 0 or less means the default, 64 KiB.
// Bytes that are buffered already stay, also above n.
func (c *Conn) SetBuffer(n int) { c.out.setLimit(n) }

// LocalAddr returns an address of network "pipe".
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns an address of network "pipe".
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline in one.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when reads fail, those that are blocked now included. The zero time means never. It fails with
// net.ErrClosed after Close.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.opError("set", c.in.setReadDeadline(t))
}

// SetWriteDeadline sets when writes fail, those that are blocked now included. The zero time means never. It fails
// with net.ErrClosed after Close.
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
