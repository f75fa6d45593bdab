package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"
)

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// newTest returns a terminal of a width, and what is printed on it.
func newTest(width int, in string) (t *terminal, out, errs *bytes.Buffer) {
	out, errs = new(bytes.Buffer), new(bytes.Buffer)
	return &terminal{in: bufio.NewReader(strings.NewReader(in)), out: out, err: errs, width: width}, out, errs
}

func TestSafe(t *testing.T) {
	for in, out := range map[string]string{
		"plain text, ü": "plain text, ü", "\x1b[31m": `\x1b[31m`, "\u009b31m": `\u009b31m`, "a\r\nb\tc\x00\x7f": `a\r\nb\tc\x00\x7f`,
		"\xff\xfe": `\xff\xfe`, "\u202eevil": `\u202eevil`, "": "",
	} {
		want(t, "safe", safe(in), out)
	}
	want(t, "cut", cut("\x1b[31m"+strings.Repeat("x", 1<<20), 8), `\x1b[31…`)
	want(t, "width", text.StringWidthWithoutEscSequences(cut(strings.Repeat("世", 1000), 9)) <= 9, true)
}

func FuzzSafe(f *testing.F) {
	f.Add("\x1b[31m\u009b\xff\U000e0001")
	f.Fuzz(func(t *testing.T, s string) {
		if got := safe(s); !utf8.ValidString(got) || strings.ContainsFunc(got, unprintable) {
			t.Errorf("%q", got)
		}
		line, err := safeJSON(map[string]any{s: s})
		var back map[string]string
		if err != nil || strings.ContainsFunc(line, unprintable) || json.Unmarshal([]byte(line), &back) != nil {
			t.Fatalf("%q: %q, %v", s, line, err)
		}
		if utf8.ValidString(s) && back[s] != s {
			t.Errorf("%q became %q", s, back)
		}
	})
}

// TestColours are for terminals alone.
func TestColours(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	pipe, _, _ := newTest(0, "")
	want(t, "a pipe", pipe.paint(text.FgRed, "x"), "x")
	tty, _, _ := newTest(80, "")
	want(t, "a terminal", tty.paint(text.FgRed, "x"), "\x1b[31mx\x1b[0m")
	t.Setenv("NO_COLOR", "1")
	want(t, "NO_COLOR", tty.paint(text.FgRed, "x"), "x")
}

func TestConfirm(t *testing.T) {
	for in, ok := range map[string]bool{"yes\n": true, " yes \n": true, "yes": true, "y\n": false, "": false, "no\n": false, "YES\n": false} {
		tty, _, errs := newTest(80, in)
		want(t, in, tty.confirm(false, "%s will be gone.", "\x1b[2J") == nil, ok)
		want(t, "the question", strings.HasPrefix(errs.String(), `\x1b[2J will be gone. Type yes`), true)
		want(t, "--yes", tty.confirm(true, "x") == nil, true)
	}
}

// TestLetters: a table of any letters fits 80 cells.
func TestLetters(t *testing.T) {
	at := time.Now().Add(-90 * time.Hour)
	evil := strings.Repeat("\x1b[31m世界 ", 50)
	all := []*letter{
		{nsqd: "10.0.0.1:4150", id: "0123456789abcdef", attempts: 65535, at: at, body: []byte(evil), headers: map[string]string{
			"nsqx-dlq-topic": evil, "nsqx-dlq-channel": evil, "nsqx-dlq-error": evil}},
		{nsqd: "a-name-that-is-long.example.com:4150", id: "0123456789abcdee", attempts: 1, at: at, tooLarge: true},
	}
	for _, letters := range [][]*letter{all, all[:1]} {
		tty, out, _ := newTest(80, "")
		if err := tty.letters(letters); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := text.StringWidthWithoutEscSequences(strings.TrimRight(line, "\n")); n > 80 || strings.Contains(line, "\x1b") {
				t.Errorf("%d cells: %q", n, line)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, s := range map[int64]string{0: "0", 99_999: "99999", 100_000: "100k", 9_999_999: "9999k", 10_000_000: "10M", -5: "-5"} {
		want(t, "number", number(n), s)
	}
	for d, s := range map[time.Duration]string{-time.Hour: "0s", 59 * time.Second: "59s", time.Hour: "1h", 47 * time.Hour: "47h", 480 * time.Hour: "20d"} {
		want(t, "age", age(d), s)
	}
	for in, ok := range map[string]bool{"1.2.3": true, "1.2.1-alpha": true, "1.2": false, "x": false, "": false, "1.-2.3": false} {
		_, got := parse(in)
		want(t, in, got, ok)
	}
}
