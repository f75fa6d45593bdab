package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"time"
)

const (
	// proxyRead is the size of the proxy's reads. It is small for a limited bandwidth, so that
	// bytes trickle as on a slow line.
	proxyRead     = 64 << 10
	proxyReadSlow = 4 << 10

	// proxyBuffer is the buffer of a slow line as a time. A full buffer blocks the writer.
	proxyBuffer = 20 * time.Millisecond

	// proxyChunks exceeds what anyone writes within a round trip.
	proxyChunks = 1 << 16
)

// chunk is bytes on their way.
type chunk struct {
	data []byte
	due  time.Time // when they arrive
}

// line is one direction of a connection through the proxy.
type line struct {
	from, to *net.TCPConn
	delay    time.Duration
	mbit     int // Mbit/s; 0 for no limit
	chunks   chan chunk
}

// runProxy announces an address for each of j.Addrs and forwards connections to it, over a line
// that takes half of j.RTT each way. Connecting takes no time, because the kernel accepts. The
// proxy ends with in.
func runProxy(j job, in io.Reader, out *json.Encoder) error {
	var addrs []string
	for _, to := range j.Addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
		go accept(l, to, j)
	}
	if err := out.Encode(addrs); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

func accept(l net.Listener, to string, j job) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			near.Close() // as if no nsqd listened
			continue
		}
		go connect(near.(*net.TCPConn), far.(*net.TCPConn), j)
	}
}

func connect(near, far *net.TCPConn, j job) {
	back := make(chan struct{})
	go func() {
		newLine(far, near, j).forward()
		close(back)
	}()
	newLine(near, far, j).forward()
	<-back
	near.Close()
	far.Close()
}

func newLine(from, to *net.TCPConn, j job) *line {
	return &line{from: from, to: to, delay: j.RTT / 2, mbit: j.Mbit, chunks: make(chan chunk, proxyChunks)}
}

// forward writes all bytes when they are due, then closes.
func (l *line) forward() {
	go l.readAhead()
	for c := range l.chunks {
		sleepUntil(c.due)
		if _, err := l.to.Write(c.data); err != nil {
			l.from.CloseRead()
		}
	}
	l.to.CloseWrite()
}

// readAhead reads ahead of forward, so that a delay does not limit the bytes on their way.
func (l *line) readAhead() {
	defer close(l.chunks)
	buffer := make([]byte, proxyRead)
	if l.mbit > 0 {
		buffer = buffer[:proxyReadSlow]
	}
	free := time.Now() // when the last byte so far has left
	for {
		n, err := l.from.Read(buffer)
		if now := time.Now(); free.Before(now) {
			free = now
		}
		free = free.Add(l.transmitTime(n))
		l.chunks <- chunk{bytes.Clone(buffer[:n]), free.Add(l.delay)}
		if err != nil {
			return
		}
		sleepUntil(free.Add(-proxyBuffer))
	}
}

// transmitTime returns how long n bytes occupy the line.
func (l *line) transmitTime(n int) time.Duration {
	if l.mbit == 0 {
		return 0
	}
	return time.Duration(n) * 8 * time.Microsecond / time.Duration(l.mbit)
}
