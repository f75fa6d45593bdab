package conn

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/nsqx/nsqx/internal/wire"
)

// transport is what a finished handshake hands to the read and write loops.
type transport struct {
	// nc is the outermost net.Conn (TLS if there is any, below a compressor): deadlines go here.
	nc net.Conn
	// r delivers decoded bytes. Without compression it is nc. What has been read from it ends with a frame.
	r io.Reader
	// w takes encoded frames. One Write is compressed and flushed, and reaches nc as one Write.
	w writer
	// closeWrite ends this side of the connection: a deflate stream, TLS, the socket, as far as nsqd needs it to see the end. A
	// net.Conn without CloseWrite is closed. Not concurrent with w.Write.
	closeWrite func() error
	// resp is what nsqd answered to IDENTIFY.
	resp identity
	// rtt is the smallest round trip of the handshake. It is 0 where the clock is too coarse to see it.
	rtt time.Duration
	// secret is what was sent with AUTH, kept to be cut out of what nsqd says in its errors.
	secret string
}

type writer interface {
	Write(p []byte) (int, error)
}

// newTransport is the transport of a connection as it was dialled.
func newTransport(nc net.Conn) *transport {
	t := &transport{nc: nc, r: nc, w: nc, closeWrite: nc.Close}
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		t.closeWrite = half.CloseWrite
	}
	return t
}

// redact takes the secret out of what nsqd sent, also as %q has it.
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

// parseError reads an error frame. nsqd might quote the secret, so that is cut out first: once the text has been shortened, half
// of a secret would not be found.
func (t *transport) parseError(data []byte) *wire.ProtocolError {
	return wire.ParseError(t.redact(data))
}
