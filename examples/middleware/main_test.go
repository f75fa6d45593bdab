package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/examples/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// The paths of the parcels, in the order of the chains.
const (
	home = `
  → log
    → timeout
      → valid
        → deliver
          → stamp
            → forward
            ← forward: ok
          ← stamp: ok
        ← deliver: ok
      ← valid: ok
    ← timeout: ok
  ← log: ok
`
	away = `
  → log
    → limit, only abroad
      → timeout
        → valid
          → deliver
            → stamp
              → forward
              ← forward: ok
            ← stamp: ok
          ← deliver: ok
        ← valid: ok
      ← timeout: ok
    ← limit, only abroad: ok
  ← log: ok
`
)

func TestRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("run: %v, after:\n%s", err, &out)
	}
	for _, text := range []string{home, away} {
		if n := strings.Count(out.String(), text); n != 1 {
			t.Errorf("got %d times:%s", n, text)
		}
	}
	for line, want := range map[string]int{
		` *\d+ ms  ✓ parcel [3-7] is in `:                                          5,
		` *\d+ ms  ✉ parcel \d was delivered \(request r-\d, from depot 1\)$`:      7,
		` *msg="message failed" msg.attempts=1 error="permanent: a parcel of 0 kg`: 1,
		` *msg="message failed" msg.attempts=1 error="nsqx: handler timeout"`:      1,
		`✓ 7 parcels delivered, 1 retried, 1 given up$`:                            1,
	} {
		if found := regexp.MustCompile("(?m)^  "+line).FindAllString(out.String(), -1); len(found) != want {
			t.Errorf("got %d lines of %q, want %d", len(found), line, want)
		}
	}
	for _, m := range regexp.MustCompile(`parcel (\d) was delivered \(request r-(\d)`).FindAllStringSubmatch(out.String(), -1) {
		if m[1] != m[2] {
			t.Errorf("the notice of parcel %s has the request of %s", m[1], m[2])
		}
	}
	if t.Failed() {
		t.Logf("the output was:\n%s", &out)
	}
}

func TestRunStopped(t *testing.T) {
	for name, line := range map[string]string{"early": "the path of parcel 1", "midway": "more parcels"} {
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
