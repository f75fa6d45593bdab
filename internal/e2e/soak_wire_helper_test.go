package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// wiretap records the bytes of one consumer's connections at the consumer's end. There it is
// certain which connection wrote them, and when. It understands plain NSQ only.
type wiretap struct {
	book                   *account
	timeout, maxTimeout    time.Duration // of messages
	maxRequeue             time.Duration
	redirect               func(addr string) string
	fin, req, touch, rdys  int
	held, mostHeld, mostUp int // unanswered deliveries, their maximum, and the largest sum of RDY

	mu    sync.Mutex
	limit int // for the sum of RDY
	old   int // the previous limit
	until time.Time
	conns map[*tapped]struct{}
}

// allow sets the limit for the sum of RDY. The previous limit remains valid for a second, because
// the change takes time.
func (w *wiretap) allow(limit int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Now().After(w.until) {
		w.old = 0
	}
	w.old, w.limit, w.until = max(w.limit, w.old), limit, time.Now().Add(time.Second)
}

// most returns the valid limit. The caller holds mu.
func (w *wiretap) most() int {
	if time.Now().Before(w.until) {
		return max(w.limit, w.old)
	}
	return w.limit
}

func (w *wiretap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, w.redirect(addr))
	if err != nil {
		return nil, err
	}
	t := &tapped{TCPConn: c.(*net.TCPConn), tap: w, held: make(map[[16]byte][]delivered)}
	w.mu.Lock()
	w.conns[t] = struct{}{}
	w.mu.Unlock()
	return t, nil
}

// tapped is a connection with a wiretap. tap.mu guards all fields but the buffers.
type tapped struct {
	*net.TCPConn
	tap     *wiretap
	in, out []byte // incomplete frame or command
	held    map[[16]byte][]delivered
	rdy     int
	magic   bool
	cls     bool
}

// delivered is an unanswered message.
type delivered struct {
	key       key
	at, until time.Time     // time of the read; the end of the time for REQ and TOUCH
	stalled   time.Duration // stall of the process up to at
}

func (t *tapped) Read(b []byte) (int, error) {
	n, err := t.TCPConn.Read(b)
	if n > 0 {
		t.in = append(t.in, b[:n]...)
		t.frames(time.Now())
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.end()
	}
	return n, err
}

func (t *tapped) Write(b []byte) (int, error) {
	// Before the write: else nsqd could answer before the tap has seen the command.
	t.out = append(t.out, b...)
	t.commands(time.Now())
	n, err := t.TCPConn.Write(b)
	return n, err
}

func (t *tapped) Close() error {
	t.end()
	return t.TCPConn.Close()
}

// end removes the connection from the wiretap.
func (t *tapped) end() {
	w := t.tap
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.conns[t]; !ok {
		return
	}
	delete(w.conns, t)
	for _, d := range t.held {
		w.held -= len(d)
	}
	t.held = nil
}

func (t *tapped) frames(now time.Time) {
	b := t.in
	for len(b) >= 8 {
		size := int(binary.BigEndian.Uint32(b))
		if len(b) < 4+size {
			break
		}
		frame := b[4 : 4+size]
		b = b[4+size:]
		if kind := binary.BigEndian.Uint32(frame); kind != 2 || size < 30 {
			continue
		}
		t.message(frame[4:], now)
	}
	t.in = append(t.in[:0], b...)
}

func (t *tapped) message(m []byte, now time.Time) {
	w := t.tap
	k, ok := keyOf(m[26:])
	if !ok {
		w.book.fault("a message on the wire is %.60q, which nobody has published", m[26:])
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.held == nil {
		return // the connection has ended
	}
	id := [16]byte(m[10:26])
	t.held[id] = append(t.held[id], delivered{k, now, now.Add(w.timeout), w.book.stalls.total(now)})
	w.held++
	w.mostHeld = max(w.mostHeld, w.held)
}

func (t *tapped) commands(now time.Time) {
	b := t.out
	if !t.magic && len(b) >= 4 {
		t.magic, b = true, b[4:]
	}
	for {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			break
		}
		words := bytes.Split(line, []byte{' '})
		switch string(words[0]) {
		case "IDENTIFY", "AUTH", "PUB", "MPUB", "DPUB":
			if len(rest) < 4 || len(rest) < 4+int(binary.BigEndian.Uint32(rest)) {
				t.out = append(t.out[:0], b...)
				return
			}
			rest = rest[4+int(binary.BigEndian.Uint32(rest)):]
		default:
			t.command(words, now)
		}
		b = rest
	}
	t.out = append(t.out[:0], b...)
}

func (t *tapped) command(words [][]byte, now time.Time) {
	t.tap.mu.Lock()
	defer t.tap.mu.Unlock()
	if t.held == nil {
		return // nsqd will not read it
	}
	switch name := string(words[0]); name {
	case "RDY":
		t.ready(words)
	case "CLS":
		t.cls = true
	case "FIN", "REQ", "TOUCH":
		t.answer(name, words, now)
	case "SUB", "NOP":
	default:
		t.tap.book.fault("the consumer has written %.60q", bytes.Join(words, []byte{' '}))
	}
}

// ready checks I6. Like all methods below, it needs mu held.
func (t *tapped) ready(words [][]byte) {
	w := t.tap
	n, err := strconv.Atoi(string(words[1]))
	if err != nil || n < 0 || n > 2500 || t.cls && n > 0 {
		w.book.fault("RDY %s, after CLS: %t", words[1], t.cls)
	}
	raised := n > t.rdy
	t.rdy = n
	w.rdys++
	sum := 0
	for c := range w.conns {
		sum += c.rdy
	}
	w.mostUp = max(w.mostUp, sum)
	if raised && sum > w.most() {
		w.book.fault("RDY adds up to %d, want %d at most", sum, w.most())
	}
}

// answer checks I2 and I3: one answer for each delivery of this connection, in time unless it is a
// FIN.
func (t *tapped) answer(name string, words [][]byte, now time.Time) {
	w, id := t.tap, [16]byte{}
	copy(id[:], words[1])
	list := t.held[id]
	if len(list) == 0 {
		w.book.fault("%s %s, which this connection has not delivered, or has answered", name, words[1])
		return
	}
	// After timeouts an id may have several deliveries. A FIN may answer any of them, REQ and TOUCH
	// only the newest.
	newest := len(list) - 1
	d := list[newest]
	if name != "FIN" && now.Add(d.stalled-w.book.stalls.total(now)).After(d.until) {
		w.book.fault("%s of message %d-%d, %v after its delivery, which was %v too late", name, d.key.stream, d.key.seq, now.Sub(d.at), now.Sub(d.until))
	}
	switch name {
	case "TOUCH":
		w.touch++
		list[newest].until = now.Add(w.timeout)
		if last := d.at.Add(w.maxTimeout); list[newest].until.After(last) {
			list[newest].until = last
		}
		return
	case "FIN":
		w.fin++
		d = list[0]
		list = list[1:]
		w.book.fin(d.key)
	case "REQ":
		w.req++
		list = list[:newest]
		if ms, err := strconv.Atoi(string(words[2])); err != nil || ms < 0 || time.Duration(ms)*time.Millisecond > w.maxRequeue {
			w.book.fault("REQ with the delay %s", words[2])
		}
	}
	w.held--
	if len(list) == 0 {
		delete(t.held, id)
	} else {
		t.held[id] = list
	}
}
