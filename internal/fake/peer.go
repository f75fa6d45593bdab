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
	maxLine = 16 << 10 // nsqd's read buffer, which limits the line of a command
	maxBody = 64 << 20
)

// Command is a command of a client: a line with a name and parameters, and a body for IDENTIFY,
// AUTH, PUB, MPUB and DPUB.
type Command struct {
	Name   string
	Params []string
	Body   []byte
}

// String returns the line.
func (c Command) String() string {
	return strings.Join(append([]string{c.Name}, c.Params...), " ")
}

// Peer is the server's end of a connection. Only the goroutine of the script may use it, except
// that Close and Reset may be called from any goroutine.
//
// Unexpected input fails the test once, with tb.Errorf, and closes the connection, so that neither
// side waits for the other. From then on reads fail and methods return zero values. A failed write
// fails no test, since a client must close the connection after garbage: see [Peer.WriteErr].
type Peer struct {
	Conn   net.Conn   // below TLS and compression; a script may write to it directly
	Pipe   *pipe.Conn // Conn if that is a pipe, else nil: SetBuffer limits what the script can write ahead
	Client *pipe.Conn // client's end in a Network, else nil: SetBuffer limits what the client can write ahead
	Addr   string     // the dialled address
	N      int        // number of the dial, from 1
	Log    []Command  // all commands read so far, including NOP

	tb       testing.TB
	top      io.ReadWriter // below compression: Conn, or TLS over Conn
	r        *bufio.Reader
	w        io.Writer
	readErr  error // sticky
	writeErr error // sticky
	failed   bool
}

// NewPeer returns a Peer for nc, for tests that make their own connections.
func NewPeer(tb testing.TB, nc net.Conn) *Peer {
	inMemory, _ := nc.(*pipe.Conn)
	return &Peer{Conn: nc, Pipe: inMemory, tb: tb, top: nc, r: bufio.NewReaderSize(nc, maxLine), w: nc}
}

// Magic reads the magic, "  V2".
func (p *Peer) Magic() {
	p.tb.Helper()
	var magic [4]byte
	if err := p.readFull(magic[:]); err != nil {
		p.failf("want magic, got %v", err)
	} else if string(magic[:]) != "  V2" {
		p.failf("want magic, got %q", magic)
	}
}

// Next reads one command. The error is io.EOF only if the client closed its side between two
// commands. Next fails no test.
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

// readFull is io.ReadFull, except that every EOF is io.ErrUnexpectedEOF.
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

// Expect reads the next command, whose name must be name. It skips NOP unless name is NOP.
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

// HalfClosed reads until the client closes its side. It reports whether that happened between two
// commands, and the client can still read. A closed connection differs from a half-closed one only
// on a pipe without TLS.
func (p *Peer) HalfClosed() bool {
	var err error
	for err == nil {
		_, err = p.Next()
	}
	if err != io.EOF {
		return false
	}
	_, err = p.Conn.Write(nil) // fails on a pipe whose other end is closed
	return err == nil
}

// Raw writes b and flushes: as one write without TLS and compression, as one record over TLS, as
// one compressed block (as far as b fits).
func (p *Peer) Raw(b []byte) {
	if p.writeErr != nil {
		return
	}
	_, p.writeErr = p.w.Write(b)
	if f, ok := p.w.(interface{ Flush() error }); ok && p.writeErr == nil {
		p.writeErr = f.Flush()
	}
}

// WriteErr returns the first error of a write. Later writes are not attempted.
func (p *Peer) WriteErr() error { return p.writeErr }

// Frame writes a frame of any type.
func (p *Peer) Frame(typ int32, data []byte) { p.Raw(Frame(typ, data)) }

// Response writes a response frame.
func (p *Peer) Response(s string) { p.Frame(FrameResponse, []byte(s)) }

// Error writes an error frame. It does not close the connection, as nsqd does after most errors.
func (p *Peer) Error(s string) { p.Frame(FrameError, []byte(s)) }

// Heartbeat writes a heartbeat.
func (p *Peer) Heartbeat() { p.Response("_heartbeat_") }

// Message writes a message frame with the current time. An id that does not have 16 bytes (see
// [ID]) makes a malformed frame.
func (p *Peer) Message(id string, attempts uint16, body []byte) {
	p.MessageAt(time.Now().UnixNano(), id, attempts, body)
}

// MessageAt writes a message frame with the timestamp ts, in Unix nanoseconds.
func (p *Peer) MessageAt(ts int64, id string, attempts uint16, body []byte) {
	p.Raw(Message(ts, id, attempts, body))
}

// Identify reads the magic and IDENTIFY, answers with [DefaultIdentify] overlaid with resp, and
// returns the body of IDENTIFY. A nil value in resp removes the field. Like nsqd, it answers OK if
// the client does not ask for feature_negotiation.
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

// Subscribe is Identify, then SUB and its OK: the handshake of a consumer without TLS and
// compression.
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

// Close closes the connection immediately, without ending TLS or compression, like nsqd.
func (p *Peer) Close() { _ = p.Conn.Close() }

// Reset ends the connection with a TCP reset: what the client has not read is lost. On a
// connection that is neither a pipe nor TCP, Reset is Close.
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
