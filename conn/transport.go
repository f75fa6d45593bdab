package conn

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/wire"
)

// transport is the result of a handshake.
type transport struct {
	// nc is the outermost net.Conn: TLS if there is any, below a compressor. Deadlines are set on
	// it.
	nc net.Conn
	// r delivers decoded bytes; the handshake has read up to the end of a frame.
	r io.Reader
	// w accepts encoded frames. Each Write is compressed and flushed, and reaches nc as one Write.
	w writer
	// closeWrite ends this side of the connection so that nsqd sees the end: a deflate stream, TLS,
	// the socket. A net.Conn without CloseWrite is closed. It must not run concurrently with
	// w.Write.
	closeWrite func() error
	resp       identity
	// rtt is the smallest round trip of the handshake, 0 if the clock is too coarse to measure it.
	rtt time.Duration
	// secret was sent with AUTH; it is redacted from nsqd's errors.
	secret string
}

type writer interface {
	Write(p []byte) (int, error)
}

func newTransport(nc net.Conn) *transport {
	c := closer{nc}
	t := &transport{nc: c, r: c, w: c, closeWrite: c.Close}
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		t.closeWrite = half.CloseWrite
	}
	return t
}

// redact removes the secret, also in its quoted form.
func (t *transport) redact(data []byte) []byte {
	if t.secret == "" {
		return data
	}
	quoted := strconv.Quote(t.secret)
	for _, s := range []string{t.secret, quoted[1 : len(quoted)-1]} {
		data = bytes.ReplaceAll(data, []byte(s), []byte("[secret]"))
	}
	return data
}

// closer is a net.Conn whose Close may panic or call runtime.Goexit. Other methods are called by
// goroutines that survive that, but crypto/tls calls Close in one of its own.
type closer struct{ net.Conn }

func (c closer) Close() (err error) {
	if failure := guard.Isolate(func() { err = c.Conn.Close() }); failure != nil {
		return failure
	}
	return err
}

// meaning returns err, and what to do about it if that is known.
func (t *transport) meaning(err *wire.ProtocolError) error {
	if !t.resp.TLS && err.Code == "E_INVALID" && strings.HasSuffix(err.Text, "(TLS required)") {
		return fmt.Errorf("%w: %w", ErrTLSRequired, err)
	}
	if hint := requeueDelay(err); hint != nil {
		return hint
	}
	return err
}

// parseError redacts first: in a shortened text half of the secret would not be found.
func (t *transport) parseError(data []byte) *wire.ProtocolError {
	return wire.ParseError(t.redact(data))
}
