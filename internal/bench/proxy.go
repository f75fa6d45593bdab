package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"time"
)

const (
	// proxyRead is what the proxy passes on at once: little if it bounds the bandwidth, so that bytes trickle
	// as they do from a slow line.
	proxyRead     = 64 << 10
	proxyReadSlow = 4 << 10

	// proxyBuffer is how much a slow line holds, in time: who sends more is made to wait.
	proxyBuffer = 20 * time.Millisecond

	// proxyChunks is more than anyone writes within a round trip.
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

// runProxy announces an address for each of j.Addrs. What connects to one is connected to the other, over a line that
// takes half of j.RTT in each direction; only to connect takes no time, since the kernel accepts by itself. It ends
// with in, and its connections with the process.
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
			near.Close() // the client sees that nobody is there
			continue
		}
		go connect(near.(*net.TCPConn), far.(*net.TCPConn), j)
	}
}

func connect(near, far *net.TCPConn, j job) {
	back := make(chan struct{})
	go func() {
		newLine(far, near, j).carry()
		close(back)
	}()
	newLine(near, far, j).carry()
	<-back
	near.Close()
	far.Close()
}

func newLine(from, to *net.TCPConn, j job) *line {
	return &line{from: from, to: to, delay: j.RTT / 2, mbit: j.Mbit, chunks: make(chan chunk, proxyChunks)}
}

// carry passes on all bytes, each when it is due, and then the end.
func (l *line) carry() {
	go l.take()
	for c := range l.chunks {
		sleepUntil(c.due)
		if _, err := l.to.Write(c.data); err != nil {
			l.from.CloseRead()
		}
	}
	l.to.CloseWrite()
}

// take reads ahead of carry, so that a delay is no bound on how much is on its way.
func (l *line) take() {
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
		free = free.Add(l.takes(n))
		l.chunks <- chunk{bytes.Clone(buffer[:n]), free.Add(l.delay)}
		if err != nil {
			return
		}
		sleepUntil(free.Add(-proxyBuffer))
	}
}

// takes is how long n bytes keep the line busy.
func (l *line) takes(n int) time.Duration {
	if l.mbit == 0 {
		return 0
	}
	return time.Duration(n) * 8 * time.Microsecond / time.Duration(l.mbit)
}
