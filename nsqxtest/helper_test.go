package nsqxtest_test

import (
	"bufio"
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/nsqxtest"
)

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantList[T comparable](t testing.TB, what string, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%v, want\n%v", what, got, want)
	}
}

// bubble runs f as a subtest in a bubble, which fails if a goroutine is left.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// recorder is a testing.TB that keeps what is reported to it.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return context.Background() }

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// end runs the cleanups, as the end of a test does.
func (r *recorder) end() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
	r.cleanups = nil
}

// reported returns what was reported so far.
func (r *recorder) reported() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errors)
}

// client speaks the protocol by hand. It answers heartbeats unless it is silent. For use in a bubble.
type client struct {
	t      testing.TB
	nc     *nsqxtest.PipeConn
	w      io.Writer
	silent atomic.Bool
	ended  chan struct{}

	mu    sync.Mutex
	heard []string
}

// connect dials and sends the magic.
func connect(t testing.TB, s *nsqxtest.Server) *client {
	t.Helper()
	nc, err := s.DialContext(context.Background(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, nc: nc.(*nsqxtest.PipeConn), w: nc, ended: make(chan struct{})}
	go c.read(bufio.NewReader(nc))
	t.Cleanup(c.close)
	c.send("  V2")
	return c
}

// subscribed is connect, IDENTIFY and SUB to orders/billing.
func subscribed(t testing.TB, s *nsqxtest.Server, identify string) *client {
	t.Helper()
	c := connect(t, s)
	c.identify(identify)
	c.send("SUB orders billing\n")
	c.want("OK", "OK")
	return c
}

func (c *client) close() {
	_ = c.nc.Close()
	<-c.ended
}

func (c *client) send(format string, args ...any) {
	_, _ = fmt.Fprintf(c.w, format, args...) // the server may have hung up
}

// with is a command with a body.
func with(command, body string) string {
	return command + "\n" + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
}

func (c *client) identify(body string) { c.send("%s", with("IDENTIFY", "{"+body+"}")) }

// id is the server's nth message id.
func id(n int) string { return fmt.Sprintf("%016x", n) }

func (c *client) read(r *bufio.Reader) {
	defer close(c.ended)
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			switch {
			case err == io.EOF || err == io.ErrUnexpectedEOF:
				c.hear("EOF")
			case strings.Contains(err.Error(), "reset"):
				c.hear("reset")
			}
			return
		}
		data := make([]byte, binary.BigEndian.Uint32(head[:4])-4)
		_, _ = io.ReadFull(r, data)
		switch typ := binary.BigEndian.Uint32(head[4:]); {
		case typ == 0 && string(data) == "_heartbeat_":
			if c.silent.Load() {
				c.hear("heartbeat")
			} else {
				c.send("NOP\n")
			}
		case typ == 0:
			c.hear(string(data))
			if strings.Contains(string(data), `"deflate":true`) {
				r = bufio.NewReader(flate.NewReader(r))
			}
		case typ == 1:
			c.hear("error " + string(data))
		default:
			c.hear(fmt.Sprintf("message %s attempt %d: %s", strings.TrimLeft(string(data[10:26]), "0"), binary.BigEndian.Uint16(data[8:]), data[26:]))
		}
	}
}

func (c *client) hear(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, what)
}

// got returns what has arrived since the last call.
func (c *client) got() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	heard := c.heard
	c.heard = nil
	return heard
}

// want checks what has arrived since the last call.
func (c *client) want(want ...string) {
	c.t.Helper()
	wantList(c.t, "the client heard", c.got(), want...)
}
