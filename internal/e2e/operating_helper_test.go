package e2e

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// story is the log of one service, from level Info on.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (s *story) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, string(bytes.TrimSuffix(line, []byte("\n"))))
	return len(line), nil
}

func (s *story) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

func (s *story) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// find returns the first line with a text.
func (s *story) find(text string) (line string, ok bool) {
	all := s.all()
	i := slices.IndexFunc(all, func(line string) bool { return strings.Contains(line, `msg="nsqx: `) && strings.Contains(line, text) })
	if i < 0 {
		return "", false
	}
	return all[i], true
}

// until waits for a line.
func (s *story) until(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() bool { _, ok := s.find(text); return ok }, "the line %q in\n%s", text, lazily(func() string { return strings.Join(s.all(), "\n") }))
}

type lazily func() string

func (f lazily) String() string { return f() }

// says fails the test unless the first line with a text has all parts.
func (s *story) says(t *testing.T, text string, parts ...string) {
	t.Helper()
	line, _ := s.find(text)
	for _, part := range parts {
		if !strings.Contains(line, part) {
			t.Errorf("%q is not in the line of %q:\n%s", part, text, line)
		}
	}
}

var headline = regexp.MustCompile(`level=(\w+) msg="nsqx: ([^":;,]*)([^"]*)"`)

// headlines are level and text of each line, without the advice.
func (s *story) headlines(t *testing.T) (heads []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/guide/operating.md")
	must(t, err)
	for _, line := range s.all() {
		m := headline.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a line of nsqx: %s", line)
			continue
		}
		if heads = append(heads, m[1]+" "+m[2]); !bytes.Contains(page, []byte("nsqx: "+m[2])) && !strings.HasSuffix(m[2], "until the end") {
			t.Errorf("docs/guide/operating.md does not have %q", m[2])
		}
	}
	return heads
}

// is fails the test unless the log has these lines, in order.
func (s *story) is(t *testing.T, want ...string) {
	t.Helper()
	if got := s.headlines(t); !slices.Equal(got, want) {
		t.Errorf("the log is\n%s\nwant\n%s", strings.Join(s.all(), "\n"), strings.Join(want, "\n"))
	}
}

// has is is for a log in which a line may come again, with the number of those that it stands for.
func (s *story) has(t *testing.T, want ...string) {
	t.Helper()
	var first []string
	for _, head := range s.headlines(t) {
		if !slices.Contains(first, head) {
			first = append(first, head)
		}
	}
	slices.Sort(first)
	slices.Sort(want)
	if all := s.all(); !slices.Equal(first, want) || len(all) > 2*len(want) {
		t.Errorf("the log is\n%s\nwant lines of\n%s", strings.Join(all, "\n"), strings.Join(want, "\n"))
	}
}
