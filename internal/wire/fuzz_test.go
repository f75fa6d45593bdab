package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"regexp"
	"runtime/metrics"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nsqx/nsqx/internal/wire"
)

// allocated is the bytes that this process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func FuzzNextFrame(f *testing.F) {
	message := encodeFrame(wire.FrameMessage, encodeMessage(5, 1, id1, "body"))
	for _, seed := range [][]byte{
		nil, header(0xffffffff, 2), header(0x7fffffff, 2), header(3, 0), header(4, 0), header(4, 1), header(4, 3), header(65541, 0), message, message[:20],
		append(encodeFrame(wire.FrameResponse, []byte("_heartbeat_")), message...),
		[]byte("HTTP/1.1 400 Bad Request\r\n"), []byte("\x15\x03\x01\x00\x02\x02\x46"), []byte("SSH-2.0-x\r\n"), []byte("\x00\x00\x00\x0eE_BAD_PROTOCOL"),
	} {
		f.Add(seed, 1<<20)
	}
	f.Add(message, 3)
	f.Add(message, -100)
	f.Add(message, math.MaxInt)
	f.Add([]byte("\x7f\xff\xff\xff\x00\x00\x00\x02"), math.MinInt)

	f.Fuzz(func(t *testing.T, stream []byte, max int) {
		before := allocated()
		var encoded []byte
		rest := stream
		for {
			typ, data, n, _, err := wire.NextFrame(rest, max)
			checkPrefixes(t, rest, max, n, err)
			if n == 0 {
				break
			}
			limit := wire.MaxResponse
			if typ == wire.FrameMessage {
				limit = min(max, math.MaxInt32) + 26
			} else if typ != wire.FrameResponse && typ != wire.FrameError {
				t.Fatalf("type %d accepted", typ)
			}
			if len(data) > limit {
				t.Fatalf("%d bytes of data accepted, type %d, max %d", len(data), typ, max)
			}
			if cap(data) != len(data) || len(data) > 0 && &data[0] != &rest[8] {
				t.Fatal("data is not a closed part of the buffer")
			}
			encoded = append(encoded, encodeFrame(typ, data)...)
			rest = rest[n:]
		}
		if !bytes.Equal(encoded, stream[:len(stream)-len(rest)]) {
			t.Fatalf("frames of %q encode to %q", stream, encoded)
		}
		if grown := allocated() - before; grown > 1<<20+uint64(64*len(stream)) {
			t.Fatalf("%d bytes allocated for %d of input", grown, len(stream))
		}
	})
}

// checkPrefixes feeds buf byte by byte and fails unless that ends where one call with all of it did (in a frame of n bytes,
// in err, or incomplete), with needs on the way that are possible and never wrong.
func checkPrefixes(t *testing.T, buf []byte, max, n int, err error) {
	t.Helper()
	last := 0
	for k := range len(buf) + 1 {
		_, _, got, need, gotErr := wire.NextFrame(buf[:k], max)
		if got > 0 || gotErr != nil {
			if got != n || !reflect.DeepEqual(gotErr, err) {
				t.Fatalf("after %d bytes: n %d, error %v; with all of them: n %d, error %v", k, got, gotErr, n, err)
			}
			if got > 0 && (got != k || got != last) {
				t.Fatalf("frame of %d bytes found after %d, %d were needed", got, k, last)
			}
			if gotErr != nil && k != 4 && k != 8 {
				t.Fatalf("error %v after %d bytes: not as early as it could be", gotErr, k)
			}
			return
		}
		if need <= k || need < last || k >= 4 && last > 4 && need != last {
			t.Fatalf("after %d bytes: %d needed, %d before", k, need, last)
		}
		last = need
	}
	if n != 0 || err != nil {
		t.Fatalf("incomplete byte by byte, but n %d, error %v at once", n, err)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(encodeMessage(5, 1, id1, "body"))
	f.Add(encodeMessage(-1, 0, "ABCDEF0123456789", ""))
	f.Add(encodeMessage(0, 65535, "0123456789abcde\n", "x"))
	f.Add(encodeMessage(0, 1, id1, "")[:25])
	f.Fuzz(func(t *testing.T, data []byte) {
		timestamp, attempts, id, body, err := wire.DecodeMessage(data)
		if len(data) < 26 {
			var short *wire.ShortMessageError
			if !errors.As(err, &short) || short.Len != len(data) {
				t.Fatalf("%d bytes: error %v", len(data), err)
			}
			return
		}
		if _, notHex := hex.DecodeString(string(data[10:26])); notHex != nil {
			var bad *wire.IDError
			if !errors.As(err, &bad) || !bytes.Equal(bad.ID[:], data[10:26]) {
				t.Fatalf("id %q: error %v", data[10:26], err)
			}
			printable(t, err.Error())
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if again := encodeMessage(timestamp, attempts, string(id[:]), string(body)); !bytes.Equal(again, data) {
			t.Fatalf("%q encodes to %q", data, again)
		}
		if len(body) > 0 && &body[0] != &data[26] {
			t.Fatal("body was copied")
		}
	})
}

func FuzzParseError(f *testing.F) {
	for _, seed := range []string{"", "E_FIN_FAILED FIN " + id1 + " failed ID not in flight", "E_INVALID", "e_low x", "E_XYZ \x1b[2J\n\xff", " ",
		strings.Repeat("E", 65) + " x", "E_REQ_FAILED " + strings.Repeat("é", 200)} {
		f.Add([]byte(seed))
	}
	codes := regexp.MustCompile(`^[A-Z0-9_]{1,64}$`)
	f.Fuzz(func(t *testing.T, data []byte) {
		e := wire.ParseError(data)
		word, rest, _ := strings.Cut(string(data), " ")
		if !codes.MatchString(word) {
			word, rest = "", string(data)
		}
		if e.Code != word || len(e.Text) > 256 || !strings.HasPrefix(rest, e.Text) || len(e.Text) < min(len(rest), 256) {
			t.Fatalf("%q: code %q, text %q", data, e.Code, e.Text)
		}
		if kept := word == "E_FIN_FAILED" || word == "E_REQ_FAILED" || word == "E_TOUCH_FAILED"; e.Fatal() == kept {
			t.Fatalf("%q: fatal %t", data, e.Fatal())
		}
		printable(t, e.Error())
	})
}

// printable fails unless text is safe in a log.
func printable(t *testing.T, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "nsqx: ") || !utf8.ValidString(text) || len(text) > 4096 {
		t.Fatalf("error %q", text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Fatalf("error %q is not printable at %d", text, i)
	}
}

func FuzzCheckName(f *testing.F) {
	for _, seed := range []string{"", "a", "orders.v1_A-9", "a#ephemeral", "#ephemeral", "a#ephemeral#ephemeral", "a b", "a\n", "é", strings.Repeat("a", 64), strings.Repeat("a", 65),
		strings.Repeat("a", 54) + "#ephemeral"} {
		f.Add(seed)
	}
	valid := regexp.MustCompile(`^[.a-zA-Z0-9_-]+(#ephemeral)?$`)
	f.Fuzz(func(t *testing.T, name string) {
		want := len(name) >= 1 && len(name) <= 64 && valid.MatchString(name)
		for kind, check := range map[string]func(string) error{"topic": wire.CheckTopic, "channel": wire.CheckChannel} {
			err := check(name)
			if (err == nil) != want {
				t.Fatalf("%s %q: error %v, valid %t", kind, name, err, want)
			}
			var bad *wire.NameError
			if err != nil && (!errors.As(err, &bad) || bad.Kind != kind || bad.Name != name) {
				t.Fatalf("%s %q: error %#v", kind, name, err)
			}
			if err != nil {
				printable(t, err.Error())
			}
		}
	})
}
