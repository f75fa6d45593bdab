package testnsqd_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// waitTimeout is much longer than anything here takes.
const waitTimeout = 10 * time.Second

const (
	frameResponse = 0
	frameError    = 1
	frameMessage  = 2
)

// raw speaks as much of the protocol as the tests of testnsqd need. It shares no code with nsqx.
type raw struct {
	tb testing.TB
	net.Conn
}

func dial(tb testing.TB, addr string) *raw {
	tb.Helper()
	c, err := net.DialTimeout("tcp", addr, waitTimeout)
	if err != nil {
		tb.Fatalf("dial: %v", err)
	}
	tb.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(waitTimeout))
	r := &raw{tb: tb, Conn: c}
	r.send("  V2")
	return r
}

// subscribe connects a consumer with RDY 1 and default heartbeats.
func subscribe(tb testing.TB, addr, topic, channel string) *raw {
	tb.Helper()
	r := dial(tb, addr)
	r.identify(`{}`)
	r.send("SUB %s %s\n", topic, channel)
	r.expect("OK")
	r.send("RDY 1\n")
	return r
}

func (r *raw) send(format string, args ...any) {
	r.tb.Helper()
	if _, err := fmt.Fprintf(r.Conn, format, args...); err != nil {
		r.tb.Fatalf("send %q: %v", format, err)
	}
}

func (r *raw) body(command, body string) {
	r.tb.Helper()
	r.send("%s\n%s%s", command, binary.BigEndian.AppendUint32(nil, uint32(len(body))), body)
}

func (r *raw) identify(body string) string {
	r.tb.Helper()
	r.body("IDENTIFY", body)
	kind, data, err := r.frame()
	if err != nil || kind != frameResponse {
		r.tb.Fatalf("IDENTIFY: frame type %d, %q, error %v", kind, data, err)
	}
	return string(data)
}

func (r *raw) frame() (kind int32, data []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r.Conn, head[:]); err != nil {
		return 0, nil, err
	}
	data = make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err = io.ReadFull(r.Conn, data)
	return int32(binary.BigEndian.Uint32(head[4:])), data, err
}

// expect reads a frame that is no message and begins with want.
func (r *raw) expect(want string) {
	r.tb.Helper()
	kind, data, err := r.frame()
	if err != nil || kind == frameMessage || !bytes.HasPrefix(data, []byte(want)) {
		r.tb.Fatalf("got frame type %d, %q, error %v; want %q", kind, data, err, want)
	}
}

func (r *raw) message() (id string, attempts uint16, body string) {
	r.tb.Helper()
	kind, data, err := r.frame()
	if err != nil || kind != frameMessage || len(data) < 26 {
		r.tb.Fatalf("got frame type %d, %q, error %v; want a message", kind, data, err)
	}
	return string(data[10:26]), binary.BigEndian.Uint16(data[8:]), string(data[26:])
}

// silent fails the test if anything, even EOF, arrives within d.
func (r *raw) silent(d time.Duration) {
	r.tb.Helper()
	r.SetReadDeadline(time.Now().Add(d))
	n, err := r.Read(make([]byte, 1))
	var timeout net.Error
	if n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		r.tb.Fatalf("read %d bytes, error %v; want silence", n, err)
	}
	r.SetReadDeadline(time.Now().Add(waitTimeout))
}

// startTLS switches to TLS after an IDENTIFY that requested it.
func (r *raw) startTLS(c *tls.Config) error {
	c.ServerName = "127.0.0.1"
	t := tls.Client(r.Conn, c)
	if err := t.Handshake(); err != nil {
		return err
	}
	r.Conn = t
	return nil
}
