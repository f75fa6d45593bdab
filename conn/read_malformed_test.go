package conn_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/wire"
)

// Tests of read.go with malformed input.

// TestEndOfStream ends the stream at every byte of a frame. Incomplete messages are not delivered.
func TestEndOfStream(t *testing.T) {
	frame := fake.Message(0, fake.ID(1), 1, []byte("hello"))
	for k := range len(frame) + 9 {
		bubbles(t, fmt.Sprint("after byte ", k), func(t *testing.T) {
			s := openStream(t, streamOptions{})
			s.p.Raw(append(bytes.Clone(frame), frame...)[:k])
			s.p.Close()
			failure := s.failed(conn.PhaseStream, 0)
			want := io.ErrUnexpectedEOF
			if k%len(frame) == 0 {
				want = io.EOF
			}
			wantIs(t, failure, want)
			if got := len(s.sink.messages()); got != k/len(frame) {
				t.Errorf("%d messages were delivered, want %d", got, k/len(frame))
			}
		})
	}
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.p.Reset()
		wantIs(t, s.failed(conn.PhaseStream, 0), syscall.ECONNRESET)
	})
}

func frameSize(n uint32, more ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, n), more...)
}

// TestMalformed checks that malformed data ends the connection immediately with a precise error,
// and that earlier frames are handled.
func TestMalformed(t *testing.T) {
	const maxSize = 100
	bigID := func(id string) []byte { return fake.Message(0, id, 1, []byte("x")) }
	tests := map[string]struct {
		raw  []byte
		want func(err error) bool
	}{
		"size ffffffff":       {frameSize(0xffffffff), isErr[*wire.FrameSizeError]},
		"size 80000000":       {frameSize(0x80000000), isErr[*wire.FrameSizeError]},
		"size 7fffffff":       {frameSize(0x7fffffff), isErr[*wire.FrameSizeError]},
		"size 3fffffff":       {frameSize(0x3fffffff), isErr[*wire.FrameSizeError]},
		"size 0":              {frameSize(0), isErr[*wire.FrameSizeError]},
		"size 1":              {frameSize(1), isErr[*wire.FrameSizeError]},
		"size 2":              {frameSize(2), isErr[*wire.FrameSizeError]},
		"size 3, and more":    {frameSize(3, 0, 0, 0, 0, 0, 0, 0), isErr[*wire.FrameSizeError]},
		"type 3":              {fake.Frame(3, []byte("x")), isErr[*wire.FrameTypeError]},
		"type -1":             {fake.Frame(-1, []byte("x")), isErr[*wire.FrameTypeError]},
		"type 7fffffff":       {fake.Frame(0x7fffffff, []byte("x")), isErr[*wire.FrameTypeError]},
		"empty message":       {fake.Frame(fake.FrameMessage, nil), isErr[*wire.ShortMessageError]},
		"message of 1 byte":   {fake.Frame(fake.FrameMessage, make([]byte, 1)), isErr[*wire.ShortMessageError]},
		"message of 25 bytes": {fake.Frame(fake.FrameMessage, make([]byte, 25)), isErr[*wire.ShortMessageError]},

		"id with a newline":        {bigID("0000000000\nCLS\n0"), isErr[*wire.IDError]},
		"id with spaces":           {bigID("0000000000000 1 "), isErr[*wire.IDError]},
		"id with g":                {bigID("000000000000000g"), isErr[*wire.IDError]},
		"id of zero bytes":         {bigID(strings.Repeat("\x00", 16)), isErr[*wire.IDError]},
		"id of high bytes":         {bigID(strings.Repeat("\xb0", 16)), isErr[*wire.IDError]},
		"response above 64 KiB":    {fake.Frame(fake.FrameResponse, make([]byte, 64<<10+1)), isErr[*wire.FrameSizeError]},
		"error above 64 KiB":       {fake.Frame(fake.FrameError, make([]byte, 1<<20)), isErr[*wire.FrameSizeError]},
		"HTTP":                     {[]byte("HTTP/1.1 400 Bad Request\r\n"), hinted},
		"TLS alert":                {[]byte{0x15, 3, 1, 0, 2, 2, 0x46}, hinted},
		"SSH banner":               {[]byte("SSH-2.0-OpenSSH_9.6\r\n"), hinted},
		"nsqlookupd's E_BAD_PROTO": {append(frameSize(18), "E_BAD_PROTOCOL"...), isErr[*wire.FrameTypeError]},
	}
	for name, c := range tests {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{cfg: conn.Config{MaxMessageSize: maxSize}})
			good := bytes.Join([][]byte{fake.Message(0, fake.ID(1), 1, pattern(1, maxSize)), fake.Frame(fake.FrameError, []byte("E_FIN_FAILED"))}, nil)
			s.p.Raw(append(good, c.raw...))
			if err := s.failed(conn.PhaseStream, 0); !c.want(err) {
				t.Errorf("error is %v", err)
			}
			if all := s.sink.messages(); len(all) != 1 || !bytes.Equal(all[0].Body, pattern(1, maxSize)) || len(s.sink.refused()) != 1 {
				t.Errorf("%d messages and %d errors before it", len(all), len(s.sink.refused()))
			}
			for {
				cmd, err := s.p.Next()
				if err != nil {
					break
				}
				t.Errorf("it sent %q", cmd)
			}
		})
	}
}

func hinted(err error) bool {
	e, ok := errors.AsType[*wire.FrameSizeError](err)
	return ok && e.Hint != ""
}

// TestHarmless covers odd data that does not end the connection (M12, M15, M18).
func TestHarmless(t *testing.T) {
	response := func(s string) []byte { return fake.Frame(fake.FrameResponse, []byte(s)) }
	for name, raw := range map[string][]byte{
		"empty response":                  response(""),
		"M18: OK unasked":                 response("OK"),
		"M18: CLOSE_WAIT unasked":         response("CLOSE_WAIT"),
		"M18: CLOSE_WAIT twice":           append(response("CLOSE_WAIT"), response("CLOSE_WAIT")...),
		"something":                       response("something"),
		"64 KiB of response":              response(strings.Repeat("x", 64<<10)),
		"almost a heartbeat":              response("_heartbeat_ "),
		"timestamp -1, attempts 0":        fake.Message(-1, fake.ID(5), 0, nil),
		"smallest timestamp":              fake.Message(-1<<63, fake.ID(5), 65535, nil),
		"largest timestamp":               fake.Message(1<<63-1, fake.ID(5), 65535, nil),
		"M15: the same id twice":          append(fake.Message(0, fake.ID(1), 1, nil), fake.Message(0, fake.ID(1), 1, nil)...),
		"M15: attempts that go backwards": append(fake.Message(0, fake.ID(1), 5, nil), fake.Message(0, fake.ID(1), 2, nil)...),
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			s.p.Raw(raw)
			s.alive()
			for _, m := range s.sink.messages() {
				_, _, _ = m.Timestamp().String(), m.LogValue(), m.Received()
			}
			if m := s.message(9); !s.Finish(m) {
				t.Error("the next message is not answered")
			}
			s.wantSent(fin(9))
		})
	}
}

// TestSameID (M15) checks that two deliveries of one id on one connection are two messages,
// whatever their attempts: each is answered once, in any order.
func TestSameID(t *testing.T) {
	for name, attempts := range map[string]uint16{"attempts + 1": 6, "equal": 5, "lower": 4} {
		for _, later := range []bool{false, true} {
			bubbles(t, fmt.Sprint("M15: ", name, ", the later first ", later), func(t *testing.T) {
				s := openStream(t, streamOptions{})
				s.p.Message(fake.ID(1), 5, []byte("first"))
				s.p.Message(fake.ID(1), attempts, []byte("second"))
				synctest.Wait()
				all := s.sink.messages()
				if len(all) != 2 || all[0].Attempts != 5 || string(all[0].Body) != "first" ||
					all[1].Attempts != attempts || string(all[1].Body) != "second" {
					t.Fatalf("%d messages were delivered: %v", len(all), all)
				}
				a, b := all[0], all[1]
				if later {
					a, b = b, a
				}
				if !s.Requeue(a, 0) || s.Finish(a) || s.Requeue(a, 0) || !s.Finish(b) || s.Finish(b) || s.Requeue(b, 0) {
					t.Error("they are not settled one by one")
				}
				s.wantSent(req(1, 0) + ", " + fin(1))
				if st := s.Stats(); st.Received != 2 || st.Requeued != 1 || st.Finished != 1 || st.InFlight != 0 {
					t.Errorf("stats %+v", st)
				}
				if !s.Finish(s.message(2)) { // nothing is lost
					t.Error("the next message is not answered")
				}
				s.wantSent(fin(2))
			})
		}
	}
}

// TestUnsolicitedMessages (M13, M14) checks that messages that nsqd should not send are accepted
// and can be requeued. For M13 before the OK to SUB see TestGarbage.
func TestUnsolicitedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.Requeue(s.message(1), 0) // M14: RDY is 0
		s.wantSent(req(1, 0))
		s.StopDelivery()
		s.wantSent("CLS")
		s.Requeue(s.message(2), 0) // M13: after CLS
		s.wantSent(req(2, 0))
		s.p.Response("CLOSE_WAIT")
		s.Requeue(s.message(3), 0) // M13: after CLOSE_WAIT
		s.wantSent(req(3, 0))
	})
}

// TestFrameHeaderAlone checks that a frame header alone allocates little, whatever size it
// declares.
func TestFrameHeaderAlone(t *testing.T) {
	for _, n := range []uint32{1 << 30, 0xffffffff, 0x80000000, 0x7fffffff, 0x3fffffff} {
		bubbles(t, fmt.Sprintf("%x", n), func(t *testing.T) {
			s := openStream(t, streamOptions{cfg: conn.Config{MaxMessageSize: 1 << 30}})
			synctest.Wait()
			before := allocated()
			s.p.Raw(frameSize(n, 0, 0, 0, 2))
			synctest.Wait()
			if got := allocated() - before; got > 256<<10 {
				t.Errorf("%d bytes were allocated", got)
			}
			time.Sleep(beat)
			before = allocated()
			s.p.Raw(make([]byte, 1000)) // a part of the frame costs little more than its size
			synctest.Wait()
			if got := allocated() - before; got > 256<<10 {
				t.Errorf("%d bytes were allocated", got)
			}
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
