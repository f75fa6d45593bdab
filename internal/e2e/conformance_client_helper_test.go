package e2e

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

type answer struct {
	text     string // response text, "error " and error text, or "end"
	id       string // the other fields are a message's
	attempts uint16
	body     string
	at       time.Time
}

// plainClient speaks the protocol over any transport and shares no code with nsqx. It keeps what it
// reads until a test asks for it.
type plainClient struct {
	t      testing.TB
	nc     net.Conn
	answer chan answer
	ended  chan struct{}
	silent bool // leaves heartbeats unanswered, and returns them

	mu sync.Mutex // guards w: the reader answers heartbeats
	w  io.Writer
}

// newPlainClient sends the magic bytes. It reads nothing until listen.
func newPlainClient(t testing.TB, nc net.Conn) *plainClient {
	c := &plainClient{t: t, nc: nc, w: nc, answer: make(chan answer, 1000), ended: make(chan struct{})}
	c.send("  V2")
	return c
}

func (c *plainClient) send(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(c.w, format, args...) // if nsqd has closed, the reader sees that
	if f, ok := c.w.(interface{ Flush() error }); ok {
		_ = f.Flush()
	}
}

func withBody(command, body string) string {
	return command + "\n" + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
}

func mpub(topic string, bodies ...string) string {
	var b bytes.Buffer
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(bodies))))
	for _, body := range bodies {
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(body))))
		b.WriteString(body)
	}
	return withBody("MPUB "+topic, b.String())
}

// identify performs the handshake up to the last upgrade and returns the answer to IDENTIFY. Then
// listen reads the connection.
func (c *plainClient) identify(asks map[string]any, over *tls.Config) map[string]any {
	c.t.Helper()
	body, _ := json.Marshal(asks) // cannot fail
	c.send("%s", withBody("IDENTIFY", string(body)))
	var r io.Reader = c.nc
	var got map[string]any
	if err := json.Unmarshal([]byte(c.handshakeAnswer(r)), &got); err != nil {
		c.t.Fatalf("answer to IDENTIFY: %v", err)
	}
	if got["tls_v1"] == true {
		over = over.Clone()
		over.ServerName = "127.0.0.1"
		tc := tls.Client(c.nc, over)
		if err := tc.Handshake(); err != nil {
			c.t.Fatal(err)
		}
		c.nc, c.w, r = tc, tc, tc
		c.wantOK(r)
	}
	switch {
	case got["snappy"] == true:
		c.w, r = s2.NewWriter(c.nc, s2.WriterSnappyCompat(), s2.WriterConcurrency(1)), snappy.NewReader(r) // 1: no goroutine
		c.wantOK(r)
	case got["deflate"] == true:
		z, _ := flate.NewWriter(c.nc, flate.DefaultCompression) // fails for unknown levels only
		c.w, r = z, flate.NewReader(r)
		c.wantOK(r)
	}
	c.listen(r)
	return got
}

func (c *plainClient) wantOK(r io.Reader) {
	c.t.Helper()
	if got := c.handshakeAnswer(r); got != "OK" {
		c.t.Fatalf("upgrade: %q", got)
	}
}

// handshakeAnswer returns the next frame other than a heartbeat. It reads nothing behind it.
func (c *plainClient) handshakeAnswer(r io.Reader) string {
	c.t.Helper()
	for {
		typ, data, err := readFrame(r)
		if err != nil || typ != 0 {
			c.t.Fatalf("handshake: frame type %d, %q, error %v", typ, data, err)
		}
		if string(data) != "_heartbeat_" {
			return string(data)
		}
	}
}

func readFrame(r io.Reader) (typ uint32, data []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	data = make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err = io.ReadFull(r, data)
	return binary.BigEndian.Uint32(head[4:]), data, err
}

// listen reads until the connection or the test ends.
func (c *plainClient) listen(r io.Reader) {
	go func() {
		defer close(c.ended)
		br := bufio.NewReader(r)
		for {
			typ, data, err := readFrame(br)
			a := answer{text: string(data), at: time.Now()}
			switch {
			case err != nil:
				c.answer <- answer{text: "end"}
				return
			case typ == 0 && a.text == "_heartbeat_" && !c.silent:
				c.send("NOP\n")
				continue
			case typ == 1:
				a.text = "error " + a.text
			case typ == 2:
				a.attempts, a.id, a.body, a.text = binary.BigEndian.Uint16(data[8:]), string(data[10:26]), string(data[26:]), ""
			}
			c.answer <- a
		}
	}()
	c.t.Cleanup(c.close)
}

// close closes the connection without CLS.
func (c *plainClient) close() {
	_ = c.nc.Close()
	<-c.ended
}

// halfClose closes the write side and keeps reading.
func (c *plainClient) halfClose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.nc.(interface{ CloseWrite() error }).CloseWrite()
}

func (c *plainClient) next(want string) answer {
	c.t.Helper()
	return receive(c.t, c.answer, want)
}

func (c *plainClient) expect(want string) {
	c.t.Helper()
	if got := c.next(want); got.text != want {
		c.t.Fatalf("got %+v, want %q", got, want)
	}
}

// refused waits for an error with that code. Then it checks that the connection ends, or, for a
// failed answer, still works.
func (c *plainClient) refused(code string) {
	c.t.Helper()
	got := c.next("error " + code)
	if word, _, _ := strings.Cut(strings.TrimPrefix(got.text, "error "), " "); !strings.HasPrefix(got.text, "error ") || word != code {
		c.t.Fatalf("got %+v, want error %s", got, code)
	}
	switch code {
	case "E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED":
		c.send("%s", withBody("PUB still_there", "x"))
		c.expect("OK")
	default:
		c.expect("end")
	}
}

func (c *plainClient) message(body string, attempts uint16) answer {
	c.t.Helper()
	got := c.next("message " + body)
	if got.id == "" || got.body != body || got.attempts != attempts {
		c.t.Fatalf("got %+v, want message %q with attempts %d", got, body, attempts)
	}
	return got
}

// nothing fails the test if a frame arrives within a moment.
func (c *plainClient) nothing() {
	c.t.Helper()
	select {
	case got := <-c.answer:
		c.t.Fatalf("got %+v, want nothing", got)
	case <-time.After(moment):
	}
}

// moment is how long a frame that must not arrive gets to arrive.
const moment = 60 * time.Millisecond
