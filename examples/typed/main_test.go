// Tests of main.go, billing.go and shop.go: they run the program.

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"testing"

	"github.com/nsqx/nsqx/examples/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("run: %v, after:\n%s", err, &out)
	}
	for line, want := range map[string]int{
		`shop 1\.0     order [12]  sold for \d+\.\d\d$`:           2,
		`shop 1\.1     order [34]  sold for \d+\.\d\d (USD|CHF)$`: 2,
		`billing 1\.1  order [12]  charged \d+\.\d\d EUR$`:        2,
		`billing 1\.1  order [34]  charged \d+\.\d\d (USD|CHF)$`:  2,
		`billing 1\.1  ☠ dead letter \{"id":5,"cents":"4200".*`:   1,
		`             .*cannot unmarshal string.*Order\.cents`:    1,
		`operator     1 dead letter redriven`:                     1,
		`billing 1\.2  order 5  charged 42\.00 USD$`:              1,
		`billing 1\.2  `: 1,
		`shop         order \d  ✓ paid, receipt R-000\d$`:              5,
		`✓ all orders are paid, 0 are dead letters$`:                   1,
		`nsqd 127\.0\.0\.1:\d+ runs in this process$`:                  1,
		`partner      \{"id":5,"cents":"4200","currency":"USD"\}$`:     1,
		`billing 1\.2 is deployed, which also accepts cents as text\n`: 1,
	} {
		if found := regexp.MustCompile("(?m)^  "+line).FindAllString(out.String(), -1); len(found) != want {
			t.Errorf("got %d lines of %q, want %d", len(found), line, want)
		}
	}
	if t.Failed() {
		t.Logf("the output was:\n%s", &out)
	}
}

// Whenever the program is stopped, it returns the cause and leaks nothing.
func TestRunStopped(t *testing.T) {
	for name, line := range map[string]string{
		"early": "nsqd 127.0.0.1", "selling": "order 3  sold", "between releases": "1.2 is deployed", "redriving": "billing 1.2  order 5",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := run(ctx, &trigger{line: line, pull: cancel}); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want context.Canceled", err)
			}
		})
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
