package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := tempDir(t)
	var out bytes.Buffer
	sum, err := run(t.Context(), &out, false)
	if err != nil {
		t.Fatalf("run: %v, after:\n%s", err, &out)
	}
	if want := (summary{handled: 294, retried: 12, panics: 3, dead: 6, kept: 6}); sum != want {
		t.Errorf("got %+v, want %+v", sum, want)
	}
	for line, want := range map[string]int{
		`↻ order \d+ +attempt 1  requeued, \d+ms +the bank does not answer`:         8,
		`✓ order \d+ +attempt 2  charged  `:                                         8,
		`↻ order 120  attempt [12]  requeued, \d+ms +the bank declines the card`:    2,
		`☠ order 120  attempt 3  dead letter  `:                                     1,
		`↻ order 190  attempt [12]  requeued, \d+ms +panic: .*index out of range`:   2,
		`☠ order 190  attempt 3  dead letter  `:                                     1,
		`☠ order [125]*50 +attempt 1  dead letter +permanent: the card has expired`: 3,
		`☠ order \? +attempt 1  dead letter +not an order: unexpected end of JSON`:  1,
		`✓ \d+ orders settled`:                                                      6,
		`✓ drained, nsqd has 0 orders left`:                                         1,
		`handled +294   of 300 orders`:                                              1,
		`dead-lettered +6   of which nsqd keeps 6 in the topic "orders.dead"`:       1,
	} {
		found := regexp.MustCompile("(?m)^  "+line).FindAllString(out.String(), -1)
		if len(found) != want {
			t.Errorf("got %d lines of %q, want %d", len(found), line, want)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("got colours, want none:\n%q", out.String())
	}
	wantEmpty(t, dir)
	if t.Failed() {
		t.Logf("the output was:\n%s", &out)
	}
}

// Whenever the program is stopped, each order is settled or still in nsqd.
func TestRunStopped(t *testing.T) {
	for name, line := range map[string]string{"early": "nsqd 127.0.0.1", "midway": "100 orders settled"} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			cause := errors.New("had enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			sum, err := run(ctx, &trigger{line: line, pull: func() { cancel(cause) }}, true)
			if !errors.Is(err, cause) {
				t.Errorf("got error %v, want one with %q", err, cause)
			}
			if got := int(sum.handled+sum.dead) + sum.left; got != published || sum.left == 0 {
				t.Errorf("%d orders settled or left, want %d, some of them left: %+v", got, published, sum)
			}
			wantEmpty(t, dir)
		})
	}
}

func TestPaint(t *testing.T) {
	for symbol, want := range map[string]string{
		"✓": "\x1b[32m✓\x1b[0m",
		"↻": "\x1b[33m↻\x1b[0m",
		"☠": "\x1b[31m☠\x1b[0m",
	} {
		if got := (&report{colours: true}).paint(symbol); got != want {
			t.Errorf("in colours: got %q, want %q", got, want)
		}
		if got := (&report{}).paint(symbol); got != symbol {
			t.Errorf("without colours: got %q, want %q", got, symbol)
		}
	}
}

func TestFileWantsNoColours(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if wantsColours(f) {
		t.Error("got colours in a file")
	}
}

// trigger calls pull when a text with line is written.
type trigger struct {
	line string
	pull func()
}

func (w *trigger) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.line)) {
		w.pull()
	}
	return io.Discard.Write(p)
}

// tempDir returns the directory in which the program creates its own.
func tempDir(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("leftover file %s", e.Name())
	}
}
