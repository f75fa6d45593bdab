package pipe

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const defaultBuffer = 64 << 10

// stream is one direction of a pipe. It waits only in sync.Cond.Wait, which releases the mutex and
// which synctest treats as durably blocked, unlike a wait for a mutex.
type stream struct {
	mu     sync.Mutex
	change sync.Cond // broadcast at every change that a reader or writer may wait for

	buf     bytes.Buffer
	limit   int
	writing bool // a Write is running; others wait

	finished     bool // FIN: no bytes follow the buffered ones
	aborted      bool // RST
	readerClosed bool // the reading end called Close
	writerClosed bool // the writing end called Close

	readDeadline, writeDeadline deadline
}

func newStream() *stream {
	s := &stream{limit: defaultBuffer}
	s.change.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readerClosed:
			return 0, net.ErrClosed
		case s.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case s.aborted:
			return 0, syscall.ECONNRESET
		case len(p) == 0:
			return 0, nil
		case s.buf.Len() > 0:
			s.change.Broadcast()
			return s.buf.Read(p)
		case s.finished:
			return 0, io.EOF
		}
		s.change.Wait()
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing {
		if err := s.writeErr(); err != nil {
			return 0, err
		}
		s.change.Wait()
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.change.Broadcast()
	}()
	for {
		if err := s.writeErr(); err != nil {
			return n, err
		}
		if k := min(len(p)-n, s.limit-s.buf.Len()); k > 0 {
			s.buf.Write(p[n : n+k])
			n += k
			s.change.Broadcast()
		}
		if n == len(p) {
			return n, nil
		}
		s.change.Wait()
	}
}

// writeErr returns the error of a write, or nil if writing is possible. The caller holds mu.
func (s *stream) writeErr() error {
	switch {
	case s.writerClosed:
		return net.ErrClosed
	case s.writeDeadline.passed:
		return os.ErrDeadlineExceeded
	case s.aborted:
		return syscall.ECONNRESET
	case s.finished, s.readerClosed:
		return syscall.EPIPE
	}
	return nil
}

func (s *stream) closeWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.writerClosed:
		return net.ErrClosed
	case s.aborted:
		return syscall.ENOTCONN
	}
	s.finished = true
	s.change.Broadcast()
	return nil
}

// closeReader reports whether it was the first to close this end.
func (s *stream) closeReader() (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readerClosed {
		return false
	}
	s.endReader()
	return true
}

func (s *stream) closeWriter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endWriter()
}

// abortReader and abortWriter abort and close in one step: no blocked call may observe a state
// between.
func (s *stream) abortReader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	s.endReader()
}

func (s *stream) abortWriter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	s.buf.Reset()
	s.endWriter()
}

// endReader and endWriter close an end. The caller holds mu.
func (s *stream) endReader() {
	s.readerClosed = true
	s.buf.Reset()
	s.readDeadline.set(s, time.Time{})
	s.change.Broadcast()
}

func (s *stream) endWriter() {
	s.writerClosed, s.finished = true, true
	s.writeDeadline.set(s, time.Time{})
	s.change.Broadcast()
}

func (s *stream) setLimit(n int) {
	if n <= 0 {
		n = defaultBuffer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
	s.change.Broadcast()
}

func (s *stream) setReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readerClosed {
		return net.ErrClosed
	}
	s.readDeadline.set(s, t)
	return nil
}

func (s *stream) setWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writerClosed {
		return net.ErrClosed
	}
	s.writeDeadline.set(s, t)
	return nil
}

// deadline is guarded by the mutex of its stream.
type deadline struct {
	timer  *time.Timer // nil when none is armed
	passed bool
}

// set arms d for t. The caller holds s.mu. Only the timer sets passed: if a waiter compared times
// instead, it could miss the single wake-up for a t without a monotonic reading.
func (d *deadline) set(s *stream, t time.Time) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		s.change.Broadcast()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.timer == timer { // otherwise it was stopped too late
			d.timer, d.passed = nil, true
			s.change.Broadcast()
		}
	})
	d.timer = timer
}
