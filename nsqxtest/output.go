package nsqxtest

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/nsqx/nsqx/internal/pipe"
)

// Frame types.
const (
	frameResponse uint32 = 0
	frameError    uint32 = 1
	frameMessage  uint32 = 2
)

// output is what a connection has to write. Server.mu guards it.
type output struct {
	size    int           // of the buffer, in bytes; 0: no buffer
	timeout time.Duration // 0: no flush by time

	buffered []byte // message frames not handed to the write loop yet
	timer    *time.Timer

	wake    sync.Cond // wakes the write loop
	chunks  []chunk
	aborted bool // the write loop must stop without writing
}

// chunk is one step of the write loop: write bytes, start deflate, or end the connection.
type chunk struct {
	p       []byte
	deflate int // level
	end     ending
}

type ending uint8

const (
	endClose ending = iota + 1
	endReset
)

func (o *output) init(cfg *serverConfig, l sync.Locker) {
	o.size, o.timeout = cfg.outputSize, cfg.outputTimeout
	o.wake.L = l
}

func (o *output) enqueue(c chunk) {
	o.chunks = append(o.chunks, c)
	o.wake.Broadcast()
}

func appendFrame(dst []byte, typ uint32, data []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(data)))
	dst = binary.BigEndian.AppendUint32(dst, typ)
	return append(dst, data...)
}

// send sends a response or an error frame after everything buffered, like nsqd. The caller holds
// server.mu.
func (c *ServerConn) send(typ uint32, data []byte) {
	if !c.gone {
		c.buffered = appendFrame(c.buffered, typ, data)
		c.flush()
	}
}

func (c *ServerConn) respond(text string) { c.send(frameResponse, []byte(text)) }

// sendMessage appends a message frame to the buffer. The caller holds server.mu.
func (c *ServerConn) sendMessage(m *message) {
	data := binary.BigEndian.AppendUint64(nil, uint64(m.timestamp))
	data = binary.BigEndian.AppendUint16(data, m.attempts)
	data = append(data, m.id[:]...)
	c.buffered = appendFrame(c.buffered, frameMessage, append(data, m.body...))
	switch {
	case len(c.buffered) >= c.size:
		c.flush()
	case c.timer == nil && c.timeout > 0:
		var timer *time.Timer
		timer = c.server.after(c.timeout, func() {
			if c.timer == timer {
				c.flush()
			}
		})
		c.timer = timer
	}
}

// flush hands the buffer to the write loop. The caller holds server.mu.
func (c *ServerConn) flush() {
	if len(c.buffered) > 0 {
		c.enqueue(chunk{p: c.buffered})
	}
	c.discard()
}

// discard empties the buffer. The caller holds server.mu.
func (o *output) discard() {
	o.buffered = nil
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
}

// nextChunks blocks until there are chunks to write. It returns nil when the write loop must stop.
func (c *ServerConn) nextChunks() (chunks []chunk, deadline time.Time) {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	for !c.aborted && (len(c.chunks) == 0 || c.isFrozen(ToClient)) {
		c.wake.Wait()
	}
	if c.aborted {
		return nil, time.Time{}
	}
	chunks, c.chunks = c.chunks, nil
	if c.heartbeat > 0 {
		deadline = time.Now().Add(c.heartbeat)
	}
	return chunks, deadline
}

// writeFailed ends the connection. A client that has disconnected is fine; one that does not read
// breaks a rule.
func (c *ServerConn) writeFailed(err error) {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.wasFrozen {
		c.violate(CheckHeartbeat, "has not read what was sent for %v", c.heartbeat)
	}
	c.cut((*pipe.Conn).Close)
}

// deflater flushes after each write.
type deflater struct{ z *flate.Writer }

func newDeflater(w io.Writer, level int) deflater {
	z, _ := flate.NewWriter(w, level) // fails only for unknown levels
	return deflater{z}
}

func (d deflater) Write(p []byte) (int, error) {
	n, err := d.z.Write(p)
	if err != nil {
		return n, err
	}
	return n, d.z.Flush()
}

// inflater returns io.EOF for a stream without a final block, as most clients leave it.
type inflater struct{ io.Reader }

func (i inflater) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}
