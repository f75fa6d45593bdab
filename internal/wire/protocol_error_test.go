package wire_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

func TestParseError(t *testing.T) {
	long := strings.Repeat("E", 64)
	for _, tc := range []struct {
		name, data, code, text string
		fatal                  bool
		says                   string
	}{
		{"M6 empty", "", "", "", true, "nsqx: nsqd sent an empty error"},
		{"M23 FIN", "E_FIN_FAILED FIN " + id1 + " failed ID not in flight", "E_FIN_FAILED", "FIN " + id1 + " failed ID not in flight", false,
			`nsqx: nsqd sent the error "E_FIN_FAILED": "FIN 0123456789abcdef failed ID not in flight"`},
		{"M23 REQ", "E_REQ_FAILED x", "E_REQ_FAILED", "x", false, `"E_REQ_FAILED": "x"`},
		{"M23 TOUCH", "E_TOUCH_FAILED x", "E_TOUCH_FAILED", "x", false, `"E_TOUCH_FAILED": "x"`},
		{"M23 no text", "E_FIN_FAILED", "E_FIN_FAILED", "", false, `nsqx: nsqd sent the error "E_FIN_FAILED"`},
		{"M23 only the first word counts", "E_INVALID E_FIN_FAILED", "E_INVALID", "E_FIN_FAILED", true, `"E_INVALID": "E_FIN_FAILED"`},
		{"M23 a longer word is another code", "E_FIN_FAILED_X y", "E_FIN_FAILED_X", "y", true, `"E_FIN_FAILED_X"`},
		{"M23 newline does not end a word", "E_FIN_FAILED\nx", "", "E_FIN_FAILED\nx", true, `"E_FIN_FAILED\nx"`},
		{"M25 unknown", "E_XYZ what", "E_XYZ", "what", true, `"E_XYZ": "what"`},
		{"M25 lower case", "e_fin_failed what", "", "e_fin_failed what", true, `without a code: "e_fin_failed what"`},
		{"M25 no code", " E_FIN_FAILED", "", " E_FIN_FAILED", true, `without a code: " E_FIN_FAILED"`},
		{"M25 long text", "E_XYZ " + strings.Repeat("x", 1<<20), "E_XYZ", strings.Repeat("x", 256), true, strings.Repeat("x", 256) + `"`},
		{"M25 longest code", long + " x", long, "x", true, long},
		{"M25 code too long", long + "E x", "", long + "E x", true, "without a code"},
		{"M25 one long word", strings.Repeat("E", 1<<20), "", strings.Repeat("E", 256), true, "without a code"},
		{"M25 invalid UTF-8", "E_XYZ \xff\xfe", "E_XYZ", "\xff\xfe", true, `"\xff\xfe"`},
		{"M25 invalid UTF-8 in the code", "E_\xff x", "", "E_\xff x", true, `"E_\xff x"`},
		{"M25 control characters", "E_XYZ \x1b[2J\r\n\x00\u202e", "E_XYZ", "\x1b[2J\r\n\x00\u202e", true, `"\x1b[2J\r\n\x00\u202e"`},
		{"M25 cut in a rune", "E_XYZ " + strings.Repeat("x", 255) + "é", "E_XYZ", strings.Repeat("x", 255) + "\xc3", true, `x\xc3"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := []byte(tc.data)
			e := wire.ParseError(data)
			clear(data) // ParseError does not keep data
			equal(t, "code", e.Code, tc.code)
			equal(t, "text", e.Text, tc.text)
			equal(t, "fatal", e.Fatal(), tc.fatal)
			says(t, e, tc.says)
		})
	}
}

// M24
func TestFatalCodes(t *testing.T) {
	for _, code := range []string{
		"E_INVALID", "E_BAD_TOPIC", "E_BAD_CHANNEL", "E_BAD_BODY", "E_BAD_MESSAGE", "E_PUB_FAILED", "E_MPUB_FAILED", "E_DPUB_FAILED", "E_SUB_FAILED",
		"E_AUTH_DISABLED", "E_AUTH_FAILED", "E_AUTH_FIRST", "E_AUTH_ERROR", "E_UNAUTHORIZED", "E_IDENTIFY_FAILED", "E_BAD_PROTOCOL",
	} {
		for _, data := range []string{code, code + " some text"} {
			e := wire.ParseError([]byte(data))
			equal(t, "M24 code", e.Code, code)
			equal(t, "M24 fatal "+code, e.Fatal(), true)
		}
	}
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
