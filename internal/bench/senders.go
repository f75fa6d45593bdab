package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// runSender announces an address for each of j's connections, serves the first client that connects to it, and reports on out.
func runSender(j job, _ io.Reader, out *json.Encoder) error {
	deadline := time.Now().Add(lapTimeout)
	var addrs []string
	var listeners []*net.TCPListener
	for range j.Connections {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer l.Close()
		if err := l.SetDeadline(deadline); err != nil {
			return err
		}
		listeners = append(listeners, l)
		addrs = append(addrs, l.Addr().String())
	}
	if err := out.Encode(addrs); err != nil {
		return err
	}
	report, err := serve(len(listeners), func(nth int) (net.Conn, error) {
		conn, err := listeners[nth].Accept()
		if err != nil {
			return nil, err
		}
		return conn, conn.SetDeadline(deadline)
	}, j)
	if err != nil {
		return err
	}
	return out.Encode(report)
}

// serve sends j over n connections at once, each as soon as it is there: a client may open one after the other.
func serve(n int, connect func(nth int) (net.Conn, error), j job) (all senderReport, err error) {
	reports := make([]senderReport, n)
	senders, ctx := errgroup.WithContext(context.Background())
	meeting := newMeeting(n)
	for nth := range n {
		senders.Go(func() error {
			conn, err := connect(nth)
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })() // another has failed: do not wait for what is not coming
			reports[nth], err = newSender(conn, j).serve(j, part{ctx: ctx, nth: nth, of: n, meeting: meeting})
			return err
		})
	}
	err = senders.Wait()
	for _, r := range reports {
		all.add(r)
	}
	return all, err
}

func (r *senderReport) add(other senderReport) {
	r.Messages += other.Messages
	r.FINs += other.FINs
	r.REQs += other.REQs
	r.Unknown += other.Unknown
	r.Double += other.Double
	r.Reads += other.Reads
	r.CPU = max(r.CPU, other.CPU) // of the process, each time
}

// part is what one of several senders has to do.
type part struct {
	ctx     context.Context // ends when another has failed
	nth, of int
	meeting *meeting
}

// idSpace is how many ids each sender has: a FIN on another connection than its message's is unknown there.
const idSpace = 1 << 40

func (p part) firstID() uint64 { return uint64(p.nth) * idSpace }

// share is how many of n messages are its own.
func (p part) share(n int) int { return (n - p.nth + p.of - 1) / p.of }

// marks is 1 for the one that sends them.
func (p part) marks() int {
	if p.nth == 0 {
		return 1
	}
	return 0
}

// alone sends a mark when all have been answered, and returns when the mark has.
func (p part) alone(s *sender, mark byte) error {
	if err := p.meet(s); err != nil {
		return err
	}
	if err := s.deliver(p.marks(), mark); err != nil {
		return err
	}
	return p.meet(s)
}

// meet waits for the others. What the client has said meanwhile, of RDY above all, is heard.
func (p part) meet(s *sender) error {
	if p.of == 1 {
		return nil
	}
	if err := p.meeting.wait(p.ctx); err != nil {
		return err
	}
	return s.catchUp()
}

// catchUpTime is enough for what has already been written.
const catchUpTime = time.Millisecond

// catchUp obeys what has been sent so far. It must not be used over a layer, which a deadline would break.
func (s *sender) catchUp() error {
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(catchUpTime)); err != nil {
			return err
		}
		switch _, err := s.in.Peek(1); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return s.conn.SetReadDeadline(time.Now().Add(lapTimeout))
		case err != nil:
			return err
		}
		if err := s.receive(); err != nil {
			return err
		}
	}
}

// meeting lets a number of goroutines wait for each other, again and again.
type meeting struct {
	size int

	mu      sync.Mutex
	waiting int
	begun   chan struct{}
}

func newMeeting(size int) *meeting { return &meeting{size: size, begun: make(chan struct{})} }

func (m *meeting) wait(ctx context.Context) error {
	m.mu.Lock()
	begun := m.begun
	if m.waiting++; m.waiting == m.size {
		m.waiting, m.begun = 0, make(chan struct{})
		close(begun)
	}
	m.mu.Unlock()
	select {
	case <-begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
