package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"
)

// writeSize is the approximate size of the sender's writes, which makes the call itself cheap.
const writeSize = 256 << 10

// senderReport is the sender's result.
type senderReport struct {
	Messages int // sent in all
	FINs     int // of messages in flight
	REQs     int // of messages in flight; the sender repeats none
	Unknown  int // FIN or REQ with an id that was never sent
	Double   int // FIN or REQ of an answered message

	// During the measurement:
	Reads int // read calls; at most the client's write calls, plus or minus one
	CPU   time.Duration
}

// check returns an error unless the client answered each message of j with exactly one FIN. The
// last mark may be unanswered: go-nsq sometimes closes its connection before it writes that FIN.
func (r senderReport) check(j job) error {
	if n := j.deliveries(); r.Messages != n || r.FINs < n-1 || r.REQs+r.Unknown+r.Double != 0 {
		return fmt.Errorf("%d messages to send, %d sent: %d FIN, %d REQ, %d answers with an unknown id, %d second answers",
			n, r.Messages, r.FINs, r.REQs, r.Unknown, r.Double)
	}
	return nil
}

// sender plays nsqd on one connection: it keeps up to RDY messages in flight and checks the
// answers. It is one goroutine and reads only when the window is full, so a client must read while
// it writes, or write no more than a socket buffers.
type sender struct {
	conn  net.Conn
	over  stream // the layer above conn
	layer string
	in    *bufio.Reader
	reads int

	frames    []byte // prebuilt; each write fills in the ids
	frameSize int
	markAt    int // offset of the mark in a frame

	firstID  uint64
	ready    int
	closing  bool // the client has sent CLS
	answered bitmap
	report   senderReport
}

func newSender(conn net.Conn, j job) *sender {
	s := &sender{conn: conn, over: stream{conn, conn}, layer: j.Layer, markAt: bodyOffset, answered: newBitmap(j.deliveries())}
	s.in = bufio.NewReaderSize(readerFunc(func(p []byte) (int, error) {
		s.reads++
		return s.over.Read(p)
	}), 64<<10)
	if j.JSON {
		s.markAt += kindOffset
	}
	s.frameSize = bodyOffset + j.Size
	for _, body := range documents(bodyCount(j.Size), j.Size) {
		s.frames = append(s.frames, messageFrame(body, time.Now())...)
	}
	return s
}

// bodyCount returns the number of different bodies of the sender.
func bodyCount(size int) int { return max(1, writeSize/(bodyOffset+size)) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// serve sends its part of j and waits until the client has closed. The senders synchronize between
// the phases, and the first sends the marks.
func (s *sender) serve(j job, p part) (senderReport, error) {
	s.firstID = p.firstID()
	if err := s.magic(); err != nil {
		return s.report, err
	}
	if err := s.deliver(p.count(j.warmup()), ordinary); err != nil {
		return s.report, err
	}
	if err := p.sendMark(s, startMark); err != nil {
		return s.report, err
	}
	reads, cpu := s.reads, cpuTime()
	if err := s.deliver(p.count(j.Messages), ordinary); err != nil {
		return s.report, err
	}
	err := p.await(s) // the client may close before another sender arrives
	s.report.Reads, s.report.CPU = s.reads-reads, cpuTime()-cpu
	if err == nil {
		err = s.deliver(p.marks(), stopMark)
	}
	for err == nil {
		err = s.receive()
	}
	if gone(err) {
		err = nil
	}
	return s.report, err
}

// gone reports whether err means that the client has closed the connection.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (s *sender) magic() error {
	var magic [4]byte
	if _, err := io.ReadFull(s.in, magic[:]); err != nil {
		return err
	}
	if string(magic[:]) != "  V2" {
		return fmt.Errorf("bench: client opens with %q", magic)
	}
	return nil
}

// deliver sends n messages of a kind and returns when all are answered.
func (s *sender) deliver(n int, kind byte) error {
	for n > 0 || s.inFlight() > 0 {
		for window := s.window(n); window > 0; {
			sent, err := s.send(window, kind)
			if err != nil {
				return err
			}
			window -= sent
			n -= sent
		}
		if err := s.receive(); err != nil {
			return fmt.Errorf("bench: client gone, %d in flight, %d of this part not sent: %w", s.inFlight(), n, err)
		}
	}
	return nil
}

// window returns how many of n messages to send now. It is 0 until an eighth of RDY is free: a
// client that answers one by one would get messages one by one, and the sender's system calls would
// halve its rate.
func (s *sender) window(n int) int {
	free := s.ready - s.inFlight()
	if s.closing || free < min(n, s.ready/8) {
		return 0
	}
	return min(n, free)
}

func (s *sender) inFlight() int { return s.report.Messages - s.report.FINs - s.report.REQs }

// send writes up to n messages at once.
func (s *sender) send(n int, kind byte) (sent int, err error) {
	n = min(n, len(s.frames)/s.frameSize)
	for i := range n {
		frame := s.frames[i*s.frameSize:]
		putID(frame[idOffset:], s.firstID+uint64(s.report.Messages+i))
		frame[s.markAt] = kind
	}
	s.report.Messages += n
	_, err = s.over.Write(s.frames[:n*s.frameSize])
	return n, err
}

// receive waits for a command and executes it and all that arrived with it.
func (s *sender) receive() error {
	for {
		line, err := s.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if err := s.execute(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
		if s.in.Buffered() == 0 {
			return nil
		}
	}
}

func (s *sender) execute(line []byte) error {
	name, args, _ := bytes.Cut(line, []byte(" "))
	switch string(name) {
	case "FIN":
		if s.settle(args) {
			s.report.FINs++
		}
		return nil
	case "REQ":
		id, _, _ := bytes.Cut(args, []byte(" "))
		if s.settle(id) {
			s.report.REQs++
		}
		return nil
	case "RDY":
		ready, err := strconv.Atoi(string(args))
		s.ready = ready
		return err
	case "NOP", "TOUCH":
		return nil
	case "IDENTIFY":
		if err := s.skipBody(); err != nil {
			return err
		}
		return s.negotiate()
	case "SUB":
		return s.respond("OK")
	case "CLS":
		s.closing = true
		return s.respond("CLOSE_WAIT")
	default:
		return fmt.Errorf("bench: client sends %q", line)
	}
}

// settle reports whether id was in flight, and marks it answered.
func (s *sender) settle(id []byte) bool {
	seq, err := parseID(id)
	seq -= s.firstID
	switch {
	case err != nil || seq >= uint64(s.report.Messages):
		s.report.Unknown++
		return false
	case !s.answered.add(seq):
		s.report.Double++
		return false
	default:
		return true
	}
}

func (s *sender) skipBody() error {
	var size [4]byte
	if _, err := io.ReadFull(s.in, size[:]); err != nil {
		return err
	}
	_, err := s.in.Discard(int(binary.BigEndian.Uint32(size[:])))
	return err
}

// negotiate answers IDENTIFY and starts the layer.
func (s *sender) negotiate() error {
	if err := s.respond(identity(s.layer)); err != nil {
		return err
	}
	if s.layer == "" || s.layer == plain {
		return nil
	}
	var err error
	if s.over, err = serverStream(s.conn, s.layer); err != nil {
		return err
	}
	return s.respond("OK")
}

func (s *sender) respond(data string) error {
	_, err := s.over.Write(responseFrame(data))
	return err
}
