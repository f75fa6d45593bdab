package testnsqd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// cutLinger is how long both ends may take to close after a cut.
const cutLinger = time.Second

// link is one connection through a proxy.
type link struct {
	proxy   *Proxy
	client  *net.TCPConn
	server  *net.TCPConn
	once    sync.Once
	severed chan struct{} // closed by cut and reset
}

// chunk is the result of one read; no data means EOF.
type chunk struct {
	data []byte
	due  time.Time
}

// run copies both ways until both have ended. Each direction has a reader and a writer, so a delay
// does not block reading.
func (l *link) run() {
	var wg sync.WaitGroup
	for _, d := range []Direction{ToServer, ToClient} {
		queue := make(chan chunk, 256)
		wg.Go(func() { l.read(d, queue) })
		wg.Go(func() { l.write(d, queue) })
	}
	wg.Wait()
	l.client.Close()
	l.server.Close()
}

func (l *link) ends(d Direction) (from, to *net.TCPConn) {
	if d == ToServer {
		return l.client, l.server
	}
	return l.server, l.client
}

func (l *link) read(d Direction, queue chan<- chunk) {
	defer close(queue)
	from, _ := l.ends(d)
	buf := make([]byte, 32<<10)
	for l.open(d) {
		n, err := from.Read(buf)
		due := time.Now().Add(l.proxy.impairment(d).delay)
		if n > 0 {
			l.put(queue, chunk{data: bytes.Clone(buf[:n]), due: due})
		}
		if errors.Is(err, io.EOF) {
			l.put(queue, chunk{due: due})
			return
		}
		if err != nil && !l.isSevered() {
			l.reset()
		}
	}
	// Closing a socket with unread input sends RST, which a cut must not do.
	io.Copy(io.Discard, from)
}

func (l *link) put(queue chan<- chunk, c chunk) {
	select {
	case queue <- c:
	case <-l.severed:
	}
}

func (l *link) write(d Direction, queue <-chan chunk) {
	_, to := l.ends(d)
	passed := 0
	for c := range queue {
		if !l.wait(c.due) || !l.open(d) {
			continue
		}
		if c.data == nil {
			to.CloseWrite()
			continue
		}
		imp := l.proxy.impairment(d)
		b := c.data
		if imp.tap != nil {
			b = imp.tap(d, b)
		}
		last := imp.limit >= 0 && passed+len(b) >= imp.limit
		if last {
			b = b[:max(0, imp.limit-passed)]
		}
		n, err := send(to, b, imp.piece)
		passed += n
		switch {
		case last:
			l.cut()
		case err != nil && !l.isSevered():
			l.reset()
		}
	}
}

// send writes b in pieces of that size; 0 writes it at once.
func send(to *net.TCPConn, b []byte, piece int) (n int, err error) {
	if piece == 0 {
		return to.Write(b)
	}
	for part := range slices.Chunk(b, piece) {
		m, err := to.Write(part)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// open waits while d is frozen. It returns false once the link is severed.
func (l *link) open(d Direction) bool {
	for {
		frozen := l.proxy.impairment(d).frozen
		if frozen == nil {
			return !l.isSevered()
		}
		select {
		case <-frozen:
		case <-l.severed:
			return false
		}
	}
}

// wait waits until due. It returns false once the link is severed.
func (l *link) wait(due time.Time) bool {
	d := time.Until(due)
	if d <= 0 {
		return !l.isSevered()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.severed:
		return false
	}
}

func (l *link) isSevered() bool {
	select {
	case <-l.severed:
		return true
	default:
		return false
	}
}

// cut sends FIN both ways. The readers then wait for both ends to close.
func (l *link) cut() {
	l.once.Do(func() { close(l.severed) })
	now := time.Now()
	for _, c := range []*net.TCPConn{l.client, l.server} {
		c.SetWriteDeadline(now) // wakes a writer whose peer does not read
		c.CloseWrite()
		c.SetReadDeadline(now.Add(cutLinger))
	}
}

func (l *link) reset() {
	l.once.Do(func() { close(l.severed) })
	abort(l.client)
	abort(l.server)
}

// abort closes a connection with RST.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
