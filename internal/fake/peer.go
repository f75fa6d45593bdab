// Package fake plays nsqd as a test's script tells it, for hostile and rare cases: a [Network] or [Listen] runs the
// script for every connection, and a [Peer] reads commands and writes frames. It keeps no state as a real nsqd would, and
// it has an encoding of its own, so that a fault of internal/wire does not cancel itself out.
package fake

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/pipe"
)

// Frame types.
const (
	FrameResponse int32 = 0
	FrameError    int32 = 1
	FrameMessage  int32 = 2
)

const (
	maxLine = 16 << 10 // nsqd's reader: a command's line must fit
	maxBody = 64 << 20
)

// Command is what a client wrote: `Name Params…\n`, and the body of those that have one.
type Command struct {
	Name   string
	Params []string
	Body   []byte // IDENTIFY, AUTH, PUB, MPUB and DPUB only
}

// String is the command's line.
func (c Command) String() string {
	return strings.Join(append([]string{c.Name}, c.Params...), " ")
}

// Peer plays nsqd's side of one connection. It is for the one goroutine that scripts it; only Close and Reset may be
// called from others.
//
// Unexpected input fails the test by tb.Errorf, once, and closes the connection, so that neither side waits for the
// other; from then on reads fail and methods return zero values. A failed write is no fault of the client (it should
// hang up on garbage) and fails no test: see WriteErr.
type Peer struct {
	Conn   net.Conn   // the connection below TLS and compression; Write here for bytes that go past them
	Pipe   *pipe.Conn // Conn, if it is one: SetBuffer bounds what we write ahead
	Client *pipe.Conn // the other end of a Network's pipe, else nil: SetBuffer bounds what the client writes ahead
	Addr   string     // the address that was dialled
	N      int        // which dial this is, from 1
	Log    []Command  // all commands read so far, NOPs too

	tb       testing.TB
	top      io.ReadWriter // Conn or the TLS over it: what compression goes over
	r        *bufio.Reader
	w        io.Writer
	readErr  error // sticky
	writeErr error // sticky
	failed   bool
}

// NewPeer returns a Peer over nc, for tests that connect themselves.
func NewPeer(tb testing.TB, nc net.Conn) *Peer {
	inMemory, _ := nc.(*pipe.Conn)
	return &Peer{Conn: nc, Pipe: inMemory, tb: tb, top: nc, r: bufio.NewReaderSize(nc, maxLine), w: nc}
}

// Magic reads "  V2".
func (p *Peer) Magic() {
	p.tb.Helper()
	var magic [4]byte
	if err := p.readFull(magic[:]); err != nil {
		p.failf("want magic, got %v", err)
	} else if string(magic[:]) != "  V2" {
		p.failf("want magic, got %q", magic)
	}
}

// Next reads one command. The error is io.EOF only if the client ended between two commands; Next fails no test.
func (p *Peer) Next() (Command, error) {
	if p.readErr != nil {
		return Command{}, p.readErr
	}
	cmd, err := p.read()
	if err != nil {
		p.readErr = err
		return Command{}, err
	}
	p.Log = append(p.Log, cmd)
	return cmd, nil
}

func (p *Peer) read() (Command, error) {
	line, err := p.r.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return Command{}, fmt.Errorf("a line of more than %d bytes: %.40q…", maxLine, line)
	case err == io.EOF && len(line) > 0:
		return Command{}, fmt.Errorf("%w in the line %q", io.ErrUnexpectedEOF, line)
	case err != nil:
		return Command{}, err
	}
	words := strings.Split(string(line[:len(line)-1]), " ")
	cmd := Command{Name: words[0], Params: words[1:]}
	switch cmd.Name {
	case "IDENTIFY", "AUTH", "PUB", "MPUB", "DPUB":
		var size [4]byte
		if err := p.readFull(size[:]); err != nil {
			return Command{}, fmt.Errorf("size of the body of %s: %w", cmd, err)
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxBody {
			return Command{}, fmt.Errorf("a body of %d bytes for %s", n, cmd)
		}
		cmd.Body = make([]byte, n)
		if err := p.readFull(cmd.Body); err != nil {
			return Command{}, fmt.Errorf("body of %s: %w", cmd, err)
		}
	}
	return cmd, nil
}

// readFull is io.ReadFull, but an EOF is always unexpected.
func (p *Peer) readFull(b []byte) error {
	if p.readErr != nil {
		return p.readErr
	}
	_, err := io.ReadFull(p.r, b)
	if err == io.EOF && len(b) > 0 {
		err = io.ErrUnexpectedEOF
	}
	p.readErr = err
	return err
}

// Expect reads the next command, which must be name. NOPs are skipped unless name is NOP.
func (p *Peer) Expect(name string) Command {
	p.tb.Helper()
	for {
		cmd, err := p.Next()
		switch {
		case err != nil:
			p.failf("want %s, got %v", name, err)
			return Command{}
		case cmd.Name == name:
			return cmd
		case cmd.Name != "NOP":
			p.failf("want %s, got %q", name, cmd)
			return Command{}
		}
	}
}

// HalfClosed reads on until the client ends its side, and reports whether it did so between two commands and still
// listens. A client that has closed instead of half-closing is told apart on a pipe only, and not over TLS.
func (p *Peer) HalfClosed() bool {
	var err error
	for err == nil {
		_, err = p.Next()
	}
	if err != io.EOF {
		return false
	}
	_, err = p.Conn.Write(nil) // a pipe fails this when its peer has closed
	return err == nil
}

// Raw writes b and flushes: as one write over a plain connection, as one record over TLS, as one block if compressed
// (as far as b fits in those).
func (p *Peer) Raw(b []byte) {
	if p.writeErr != nil {
		return
	}
	_, p.writeErr = p.w.Write(b)
	if f, ok := p.w.(interface{ Flush() error }); ok && p.writeErr == nil {
		p.writeErr = f.Flush()
	}
}

// WriteErr is the first error of a write; what was to be written after it was not.
func (p *Peer) WriteErr() error { return p.writeErr }

// Frame writes a frame of any type.
func (p *Peer) Frame(typ int32, data []byte) { p.Raw(Frame(typ, data)) }

// Response writes a response frame.
func (p *Peer) Response(s string) { p.Frame(FrameResponse, []byte(s)) }

// Error writes an error frame. It does not close, as nsqd does after most of them.
func (p *Peer) Error(s string) { p.Frame(FrameError, []byte(s)) }

// Heartbeat writes one.
func (p *Peer) Heartbeat() { p.Response("_heartbeat_") }

// Message writes a message that nsqd accepted just now. id should have 16 bytes (see [ID]); any other length makes a
// frame that is malformed.
func (p *Peer) Message(id string, attempts uint16, body []byte) {
	p.MessageAt(time.Now().UnixNano(), id, attempts, body)
}

// MessageAt writes a message that nsqd accepted at ts, in Unix nanoseconds.
func (p *Peer) MessageAt(ts int64, id string, attempts uint16, body []byte) {
	p.Raw(Message(ts, id, attempts, body))
}

// Identify reads magic and IDENTIFY, answers DefaultIdentify overlaid with resp, and returns what the client sent. As in
// nsqd, the answer is a bare OK if the client does not ask for feature_negotiation. A nil in resp leaves the field out.
func (p *Peer) Identify(resp map[string]any) map[string]any {
	p.tb.Helper()
	p.Magic()
	cmd := p.Expect("IDENTIFY")
	var req map[string]any
	if err := json.Unmarshal(cmd.Body, &req); err != nil {
		p.failf("IDENTIFY %.200q: %v", cmd.Body, err)
		return nil
	}
	if req["feature_negotiation"] != true {
		p.Response("OK")
		return req
	}
	answer := DefaultIdentify()
	maps.Copy(answer, resp)
	maps.DeleteFunc(answer, func(_ string, v any) bool { return v == nil })
	data, err := json.Marshal(answer)
	if err != nil {
		p.failf("the script's answer to IDENTIFY: %v", err)
		return nil
	}
	p.Frame(FrameResponse, data)
	return req
}

// Subscribe is Identify, then SUB and its OK: the handshake of a consumer over a plain connection.
func (p *Peer) Subscribe(resp map[string]any) (topic, channel string) {
	p.tb.Helper()
	p.Identify(resp)
	cmd := p.Expect("SUB")
	if len(cmd.Params) != 2 {
		p.failf("want SUB topic channel, got %q", cmd)
		return "", ""
	}
	p.Response("OK")
	return cmd.Params[0], cmd.Params[1]
}

// Close closes the connection at once, without ending TLS or compression, as nsqd does.
func (p *Peer) Close() { _ = p.Conn.Close() }

// Reset closes with a TCP reset: what the client has not read is lost. Over anything but a pipe or TCP it is Close.
func (p *Peer) Reset() {
	switch c := p.Conn.(type) {
	case *pipe.Conn:
		c.Reset()
		return
	case *net.TCPConn:
		_ = c.SetLinger(0)
	}
	p.Close()
}

func (p *Peer) failf(format string, args ...any) {
	p.tb.Helper()
	if !p.failed {
		p.failed = true
		p.tb.Errorf("fake: connection %d to %q: %s", p.N, p.Addr, fmt.Sprintf(format, args...))
		p.readErr = errors.Join(errFailed, p.readErr)
		p.Close()
	}
}

var errFailed = errors.New("the script has failed")
