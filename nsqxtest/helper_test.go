package nsqxtest_test

import (
	"bufio"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

func wantList[T comparable](t testing.TB, what string, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%v, want\n%v", what, got, want)
	}
}

// recorder is a testing.TB that keeps what is reported.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (r *recorder) Helper() {}

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

// end runs the cleanups, like the end of a test.
func (r *recorder) end() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
	r.cleanups = nil
}

// reported returns the errors reported so far.
func (r *recorder) reported() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errors)
}

// violated ends the test of a server and checks that exactly one violation was reported.
func violated(t *testing.T, s *nsqxtest.Server, tb *recorder, check nsqxtest.Check, text string) {
	t.Helper()
	tb.end()
	v := s.Violations()
	if len(v) != 1 || len(tb.reported()) != 1 {
		t.Fatalf("got %v, reported %q, want one", v, tb.reported())
	}
	if v[0].Check != check || !strings.Contains(v[0].Text, text) {
		t.Errorf("got %v, want %s: %s", v[0], check, text)
	}
}

var errCredit = errors.New("no credit")

// number decodes numbers.
type number struct{}

func (number) Decode(body []byte) (int, error) { return strconv.Atoi(string(body)) }

// consumer makes a consumer of orders/billing that logs nothing.
func consumer(t testing.TB, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	opts = append(opts, nsqx.WithLogger(slog.New(slog.DiscardHandler)))
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), fn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// finished reports whether n messages are finished.
func finished(n int) func(nsqxtest.ChannelStats) bool {
	return func(st nsqxtest.ChannelStats) bool { return st.Finished == n }
}

// service is a function that implements nsqx.Service.
type service func(ctx context.Context) error

func (s service) Run(ctx context.Context) error { return s(ctx) }

// withContext is a recorder with a context.
type withContext struct {
	*recorder
	ctx context.Context
}

func (w *withContext) Context() context.Context { return w.ctx }

// flusher flushes after each write.
type flusher struct{ *flate.Writer }

func (f flusher) Write(p []byte) (int, error) {
	n, _ := f.Writer.Write(p)
	return n, f.Flush()
}

// client speaks the protocol without nsqx. It answers heartbeats unless it is silent. For use in a
// bubble.
type client struct {
	t      testing.TB
	nc     *nsqxtest.PipeConn
	w      io.Writer
	silent atomic.Bool
	ended  chan struct{}

	mu       sync.Mutex
	received []string
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

// subscribed returns a client after IDENTIFY and SUB orders billing.
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
	_, _ = fmt.Fprintf(c.w, format, args...) // the server may have closed the connection
}

// with returns a command with a body.
func with(command, body string) string {
	return command + "\n" + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
}

func (c *client) identify(body string) { c.send("%s", with("IDENTIFY", "{"+body+"}")) }

// id is the nth message id of a server.
func id(n int) string { return fmt.Sprintf("%016x", n) }

func (c *client) read(r *bufio.Reader) {
	defer close(c.ended)
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			switch {
			case err == io.EOF || err == io.ErrUnexpectedEOF:
				c.add("EOF")
			case strings.Contains(err.Error(), "reset"):
				c.add("reset")
			}
			return
		}
		data := make([]byte, binary.BigEndian.Uint32(head[:4])-4)
		_, _ = io.ReadFull(r, data)
		switch typ := binary.BigEndian.Uint32(head[4:]); {
		case typ == 0 && string(data) == "_heartbeat_":
			if c.silent.Load() {
				c.add("heartbeat")
			} else {
				c.send("NOP\n")
			}
		case typ == 0:
			c.add(string(data))
			if strings.Contains(string(data), `"deflate":true`) {
				r = bufio.NewReader(flate.NewReader(r))
			}
		case typ == 1:
			c.add("error " + string(data))
		default:
			c.add(fmt.Sprintf("message %s attempt %d: %s", strings.TrimLeft(string(data[10:26]), "0"), binary.BigEndian.Uint16(data[8:]), data[26:]))
		}
	}
}

func (c *client) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = append(c.received, what)
}

// got returns what the client has received since the last call.
func (c *client) got() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	received := c.received
	c.received = nil
	return received
}

// want checks what the client has received since the last call.
func (c *client) want(want ...string) {
	c.t.Helper()
	wantList(c.t, "the client got", c.got(), want...)
}

// oneInFlight returns a server and a subscribed client with message 1 in flight.
func oneInFlight(t *testing.T, identify string, opts ...nsqxtest.ServerOption) (*nsqxtest.Server, *client) {
	t.Helper()
	s := nsqxtest.NewServer(t, opts...)
	c := subscribed(t, s, identify)
	c.send("RDY 1\n")
	s.Publish("orders", []byte("x"))
	c.want("message 1 attempt 1: x")
	return s, c
}
