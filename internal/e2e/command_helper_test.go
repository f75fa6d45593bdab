package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// ran is what a command did.
type ran struct {
	out, err string
	code     int
}

// command prepares a run of the program, with what it reads and the servers it asks.
func command(t *testing.T, in string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*waitTimeout)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, executable(t, program, "nsqx"), args...)
	c.Stdin = strings.NewReader(in)
	c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NSQX_") })
	c.WaitDelay = time.Second
	return c
}

func runCommand(t *testing.T, in string, args ...string) ran {
	t.Helper()
	c := command(t, in, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("nsqx %q: %v", args, err)
	}
	r := ran{out.String(), errs.String(), c.ProcessState.ExitCode()}
	for _, text := range []string{r.out, r.err} { // nothing that a terminal obeys
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) }); i >= 0 {
			t.Errorf("nsqx %q prints %q", args, text[i:min(i+20, len(text))])
		}
	}
	return r
}

// want checks the exit status, and that the output and what stands beside it have some text.
func (r ran) want(t *testing.T, code int, out, beside string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.err, beside) {
		t.Errorf("exit status %d, want %d with %q and %q; it printed\n%s\nand\n%s", r.code, code, out, beside, r.out, r.err)
	}
}

// onNSQDs names nsqds for a command.
func onNSQDs(servers ...*testnsqd.Server) (flags []string) {
	for _, s := range servers {
		flags = append(flags, "--nsqd-http", s.HTTPAddr())
	}
	return flags
}

// lines decodes what --json has printed.
func lines[T any](t *testing.T, out string) (all []T) {
	t.Helper()
	for line := range strings.Lines(out) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
