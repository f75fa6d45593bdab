package main

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// peer is a scripted client, connected to a sender over loopback.
type peer struct {
	t      *testing.T
	conn   *net.TCPConn
	report chan senderReport
	err    chan error
}

func newPeer(t *testing.T, j job) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: conn.(*net.TCPConn), report: make(chan senderReport, 1), err: make(chan error, 1)}
	go func() {
		report, err := serve(1, func(int) (net.Conn, error) { return served, nil }, j)
		p.report <- report
		p.err <- err
	}()
	return p
}

func (p *peer) write(commands string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, commands); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) frame() (kind uint32, data string) {
	p.t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(p.conn, head[:]); err != nil {
		p.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(p.conn, body); err != nil {
		p.t.Fatal(err)
	}
	return binary.BigEndian.Uint32(head[4:]), string(body)
}

func (p *peer) response(want string) {
	p.t.Helper()
	if kind, data := p.frame(); kind != typeResponse || data != want {
		p.t.Fatalf("frame of type %d: %q, want the response %q", kind, data, want)
	}
}

func (p *peer) message(wantFirst byte) (id string) {
	p.t.Helper()
	kind, data := p.frame()
	if kind != typeMessage || len(data) < 27 || data[8:10] != "\x00\x01" || data[26] != wantFirst {
		p.t.Fatalf("frame of type %d: %q, want a first attempt with a body that starts with %c", kind, data, wantFirst)
	}
	return data[10:26]
}

// silent fails the test if anything arrives before the sender has executed all earlier commands.
// The answer to SUB marks that point.
func (p *peer) silent() {
	p.t.Helper()
	p.write("SUB t c\n")
	p.response("OK")
}

func (p *peer) end() (senderReport, error) {
	p.t.Helper()
	if err := p.conn.CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
	return <-p.report, <-p.err
}

func TestSenderSession(t *testing.T) {
	j := job{Messages: 3, Size: 5}
	p := newPeer(t, j)
	p.write("  V2IDENTIFY\n\x00\x00\x00\x02{}")
	p.response(identity(plain))
	p.silent() // no message before RDY

	p.write("RDY 2\n")
	p.write("FIN " + p.message(ordinary) + "\n") // the warm-up
	start := p.message(startMark)
	p.silent() // the mark is sent alone, although RDY is 2
	p.write("FIN " + start + "\n")

	first, second := p.message(ordinary), p.message(ordinary)
	p.silent() // two in flight
	p.write("TOUCH " + first + "\nNOP\nFIN " + first + "\n")
	third := p.message(ordinary)
	p.write("FIN " + third + "\nFIN " + second + "\n")

	stop := p.message(stopMark)
	p.write("CLS\nFIN " + stop + "\n")
	p.response("CLOSE_WAIT")
	report, err := p.end()
	if err != nil {
		t.Fatal(err)
	}
	if err := report.check(j); err != nil {
		t.Error(err)
	}
	if report.Messages != 6 || report.FINs != 6 || report.Reads == 0 {
		t.Errorf("report: %+v", report)
	}
}

// TestSenderStopMark: only the mark at the end may be unanswered.
func TestSenderStopMark(t *testing.T) {
	j := job{Messages: 1, Size: 1}
	p := newPeer(t, j)
	p.write("  V2RDY 1\n")
	for _, first := range []byte{ordinary, startMark, ordinary} {
		p.write("FIN " + p.message(first) + "\n")
	}
	p.message(stopMark)
	report, err := p.end()
	if err != nil {
		t.Fatal(err)
	}
	if err := report.check(j); err != nil {
		t.Error(err)
	}
	report.FINs--
	if report.check(j) == nil {
		t.Errorf("check passes %+v", report)
	}
}

// TestSenderCountsWrongAnswers: each wrong answer is counted by its kind, is no FIN, and fails the
// check.
func TestSenderCountsWrongAnswers(t *testing.T) {
	const never = "ffffffffffffffff"
	for _, test := range []struct {
		name   string
		answer func(id string) string
		got    func(r senderReport) int
	}{
		{"double", func(id string) string { return "FIN " + id + "\nFIN " + id + "\n" }, func(r senderReport) int { return r.Double }},
		{"FIN after REQ", func(id string) string { return "REQ " + id + " 0\nFIN " + id + "\n" }, func(r senderReport) int { return min(r.Double, r.REQs) }},
		{"requeue", func(id string) string { return "REQ " + id + " 1000\n" }, func(r senderReport) int { return r.REQs }},
		{"unknown", func(id string) string { return "FIN " + never + "\nFIN " + id + "\n" }, func(r senderReport) int { return r.Unknown }},
		{"unknown REQ", func(id string) string { return "REQ " + never + " 0\nFIN " + id + "\n" }, func(r senderReport) int { return r.Unknown }},
		{"not hex", func(id string) string { return "FIN xxxxxxxxxxxxxxxx\nFIN " + id + "\n" }, func(r senderReport) int { return r.Unknown }},
		{"short id", func(id string) string { return "FIN " + id[:15] + "\nFIN " + id + "\n" }, func(r senderReport) int { return r.Unknown }},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := job{Messages: 1, Size: 1}
			p := newPeer(t, j)
			p.write("  V2RDY 1\n")
			p.write(test.answer(p.message(ordinary)))
			for _, first := range []byte{startMark, ordinary, stopMark} {
				p.write("FIN " + p.message(first) + "\n")
			}
			report, err := p.end()
			if err != nil {
				t.Fatal(err)
			}
			if test.got(report) != 1 || report.FINs+report.REQs != report.Messages {
				t.Errorf("report: %+v", report)
			}
			if report.check(j) == nil {
				t.Errorf("check passes %+v", report)
			}
		})
	}
}

func TestSenderFaults(t *testing.T) {
	for name, test := range map[string]struct{ commands, want string }{
		"wrong magic":     {"  V1", `opens with "  V1"`},
		"no magic":        {"  ", "unexpected EOF"},
		"unknown command": {"  V2PUB t\n", `client sends "PUB t"`},
		"RDY not number":  {"  V2RDY many\n", "invalid syntax"},
		"gone too early":  {"  V2RDY 1\n", "client gone, 1 in flight"},
		"body cut off":    {"  V2IDENTIFY\n\x00\x00\x00\x09{}", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, job{Messages: 1, Size: 1})
			p.write(test.commands)
			if _, err := p.end(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// TestSenderWindow: a window is refilled when an eighth of it is free, and never beyond RDY.
func TestSenderWindow(t *testing.T) {
	for _, test := range []struct {
		ready, inFlight, left, want int
		closing                     bool
	}{
		{ready: 0, inFlight: 0, left: 10, want: 0},
		{ready: 1, inFlight: 0, left: 10, want: 1},
		{ready: 1, inFlight: 1, left: 10, want: 0},
		{ready: 100, inFlight: 0, left: 10, want: 10},
		{ready: 100, inFlight: 0, left: 1000, want: 100},
		{ready: 100, inFlight: 89, left: 1000, want: 0},
		{ready: 100, inFlight: 88, left: 1000, want: 12},
		{ready: 100, inFlight: 95, left: 3, want: 3},
		{ready: 2, inFlight: 5, left: 10, want: 0},
		{ready: 100, inFlight: 0, left: 10, closing: true, want: 0},
		{ready: 100, inFlight: 0, left: 0, want: 0},
	} {
		s := sender{ready: test.ready, closing: test.closing, report: senderReport{Messages: test.inFlight}}
		if got := s.window(test.left); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}

func TestIDs(t *testing.T) {
	seen := make(map[string]bool)
	for _, seq := range []uint64{0, 1, 2, 63, 64, 1_000_000, 1<<40 + 7} {
		var id [idLength]byte
		putID(id[:], seq)
		if got, err := parseID(id[:]); err != nil || got != seq {
			t.Errorf("%d became %s became %d, %v", seq, id, got, err)
		}
		if seen[string(id[:])] {
			t.Errorf("%s twice", id)
		}
		seen[string(id[:])] = true
	}
}

func TestBitmap(t *testing.T) {
	b := newBitmap(130)
	for _, i := range []uint64{0, 63, 64, 129} {
		if !b.add(i) {
			t.Errorf("%d was there before it was added", i)
		}
		if b.add(i) {
			t.Errorf("%d was not there after it was added", i)
		}
	}
}

func TestMessageFrame(t *testing.T) {
	at := time.Unix(0, 0x0102030405060708)
	frame := messageFrame([]byte("body"), at)
	want := "\x00\x00\x00\x22" + "\x00\x00\x00\x02" + "\x01\x02\x03\x04\x05\x06\x07\x08" + "\x00\x01" + strings.Repeat("\x00", 16) + "body"
	if string(frame) != want {
		t.Errorf("%q, want %q", frame, want)
	}
	if string(frame[bodyOffset:]) != "body" {
		t.Errorf("body at %d: %q", bodyOffset, frame[bodyOffset:])
	}
}
