package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// terminal is where a command reads and writes. Only it decides about colours and widths.
type terminal struct {
	in       *bufio.Reader
	out, err io.Writer
	width    int  // of out in cells; 0 if it is no terminal
	live     bool // err is a terminal, so progress has a place

	mu       sync.Mutex
	progress bool // a line of progress stands on err
}

func newTerminal(in, out, err *os.File) *terminal {
	t := &terminal{in: bufio.NewReader(in), out: out, err: err, live: term.IsTerminal(int(err.Fd()))}
	if term.IsTerminal(int(out.Fd())) {
		t.width = 80
		if w, _, err := term.GetSize(int(out.Fd())); err == nil && w > 0 {
			t.width = w
		}
	}
	return t
}

// safe returns text that no terminal obeys: what is not printable is escaped, as in a Go string.
func safe(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unprintable(r):
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// cut returns safe text of at most n cells.
func cut(s string, n int) string {
	if len(s) > 4*n+64 { // cells, so that a body of megabytes is not escaped
		s = strings.ToValidUTF8(s[:4*n+64], "")
	}
	return text.Snip(safe(s), n, "…")
}

// safeJSON encodes v on one line, and escapes what a terminal may obey.
func safeJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return escapeJSON(strings.TrimSuffix(b.String(), "\n")), nil
}

// escapeJSON escapes what a terminal may obey in JSON, which stays the same value.
func escapeJSON(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// printJSON writes v as one line.
func (t *terminal) printJSON(v any) error {
	line, err := safeJSON(v)
	if err != nil {
		return err
	}
	return t.print(line)
}

func (t *terminal) print(line string) error {
	t.clear()
	_, err := fmt.Fprintln(t.out, line)
	return err
}

// report writes an error, each part of a joined one on a line of its own.
func (t *terminal) report(err error) {
	if s, ok := err.(status); ok {
		err = s.error
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line == "" {
			continue
		}
		t.note("nsqx: %s", strings.TrimPrefix(line, "nsqx: "))
	}
}

// note writes a line beside the output.
func (t *terminal) note(format string, args ...any) {
	t.clear()
	fmt.Fprintln(t.err, safe(fmt.Sprintf(format, args...)))
}

// show replaces the line of progress. Nothing is shown unless there is a terminal.
func (t *terminal) show(format string, args ...any) {
	if !t.live {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress = true
	fmt.Fprint(t.err, "\r\x1b[K", safe(fmt.Sprintf(format, args...)))
}

func (t *terminal) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.progress {
		fmt.Fprint(t.err, "\r\x1b[K")
		t.progress = false
	}
}

// newline ends the line on which a terminal shows ^C.
func (t *terminal) newline() {
	if t.live {
		t.mu.Lock()
		defer t.mu.Unlock()
		fmt.Fprintln(t.err)
	}
}

// paint colours text on a terminal.
func (t *terminal) paint(c text.Color, s string) string {
	if t.width == 0 || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + strconv.Itoa(int(c)) + "m" + s + "\x1b[0m"
}

// cells is the width that a table may have.
func (t *terminal) cells() int {
	if t.width == 0 {
		return 160
	}
	return max(t.width, 40)
}

// table is rows with a header. The columns named by right are numbers.
func (t *terminal) table(header table.Row, right []string, rows []table.Row) error {
	w := table.NewWriter()
	w.SetStyle(plain)
	w.AppendHeader(header)
	w.AppendRows(rows)
	var columns []table.ColumnConfig
	for _, name := range right {
		columns = append(columns, table.ColumnConfig{Name: name, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	w.SetColumnConfigs(columns)
	w.SuppressTrailingSpaces()
	return t.print(w.Render())
}

// plain is a table without lines.
var plain = func() table.Style {
	s := table.StyleDefault
	s.Options = table.OptionsNoBordersAndSeparators
	s.Box.PaddingLeft, s.Box.PaddingRight = "", "  "
	s.Format.Header = text.FormatUpper
	return s
}()

var errDeclined = errors.New("nothing was done: the answer was not yes")

// confirm asks a question, unless yes is set.
func (t *terminal) confirm(yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	t.clear()
	fmt.Fprint(t.err, safe(fmt.Sprintf(format, args...)), " Type yes to go on: ")
	answer, err := t.in.ReadString('\n')
	if err != nil {
		fmt.Fprintln(t.err)
	}
	if strings.TrimSpace(answer) != "yes" {
		return errDeclined
	}
	return nil
}
