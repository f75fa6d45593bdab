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

// runSender announces an address for each of j's connections, serves the first client of each, and
// reports on out.
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

// serve sends j over n connections at once, each as soon as it is connected: a client may open them
// one by one.
func serve(n int, connect func(nth int) (net.Conn, error), j job) (all senderReport, err error) {
	reports := make([]senderReport, n)
	senders, ctx := errgroup.WithContext(context.Background())
	barrier := newBarrier(n)
	for nth := range n {
		senders.Go(func() error {
			conn, err := connect(nth)
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })() // another sender has failed
			reports[nth], err = newSender(conn, j).serve(j, part{ctx: ctx, nth: nth, of: n, barrier: barrier})
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
	r.CPU = max(r.CPU, other.CPU) // each is that of the whole process
}

// part is the task of one of several senders.
type part struct {
	ctx     context.Context // ends when another sender fails
	nth, of int
	barrier *barrier
}

// idSpace is the number of ids of each sender. A FIN on another connection than its message's is
// unknown there.
const idSpace = 1 << 40

func (p part) firstID() uint64 { return uint64(p.nth) * idSpace }

// count returns how many of n messages this sender sends.
func (p part) count(n int) int { return (n - p.nth + p.of - 1) / p.of }

// marks returns 1 for the sender of the marks, else 0.
func (p part) marks() int {
	if p.nth == 0 {
		return 1
	}
	return 0
}

// sendMark sends a mark when all senders are answered, and returns when the mark is answered.
func (p part) sendMark(s *sender, mark byte) error {
	if err := p.await(s); err != nil {
		return err
	}
	if err := s.deliver(p.marks(), mark); err != nil {
		return err
	}
	return p.await(s)
}

// await waits for the other senders. Commands that arrived meanwhile, above all RDY, are executed.
func (p part) await(s *sender) error {
	if p.of == 1 {
		return nil
	}
	if err := p.barrier.wait(p.ctx); err != nil {
		return err
	}
	return s.catchUp()
}

// catchUpTime is enough to read what is already written.
const catchUpTime = time.Millisecond

// catchUp executes the commands that have arrived. It must not be used over a layer, which a
// deadline would break.
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

// barrier lets a number of goroutines wait for each other, repeatedly.
type barrier struct {
	size int

	mu       sync.Mutex
	waiting  int
	released chan struct{}
}

func newBarrier(size int) *barrier { return &barrier{size: size, released: make(chan struct{})} }

func (b *barrier) wait(ctx context.Context) error {
	b.mu.Lock()
	released := b.released
	if b.waiting++; b.waiting == b.size {
		b.waiting, b.released = 0, make(chan struct{})
		close(released)
	}
	b.mu.Unlock()
	select {
	case <-released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
