package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nsqx/nsqx"
)

// terminal is a shell in a real terminal, tmux, with the program in its path.
type terminal struct {
	t      *testing.T
	socket string
	ended  string // a file to which the shell writes the exit status of each command
}

const columns, rows = 104, 60

// newTerminal skips the test if there is no tmux.
func newTerminal(t *testing.T, env ...string) *terminal {
	t.Helper()
	for _, name := range []string{"tmux", "bash"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("left out, since there is no %s: sessions in a terminal, and whether the pictures of the guide are true", name)
		}
	}
	path := executable(t, program, "nsqx")
	dir, err := os.MkdirTemp("", "nsqx") // short: the path of a socket has a limit
	must(t, err)
	tm := &terminal{t, filepath.Join(dir, "tmux"), filepath.Join(dir, "ended")}
	must(t, os.WriteFile(tm.ended, nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "rc"), fmt.Appendf(nil, "PS1='$ '\nPROMPT_COMMAND='echo $? >> %s'\nHISTFILE=\n", tm.ended), 0o600))
	c := exec.Command("tmux", "-u", "-S", tm.socket, "-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows),
		"bash --noprofile --rcfile "+filepath.Join(dir, "rc"))
	c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "NSQX_") || strings.HasPrefix(v, "TMUX") || strings.HasPrefix(v, "NO_COLOR")
	})
	c.Env = append(c.Env, append(env, "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=xterm-256color")...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	t.Cleanup(func() {
		tm.tmux("kill-server")
		_ = os.RemoveAll(dir)
	})
	tm.prompts(1)
	return tm
}

func (tm *terminal) tmux(args ...string) string {
	tm.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", tm.socket}, args...)...).CombinedOutput()
	if err != nil {
		tm.t.Errorf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// prompts waits for the nth prompt, and returns the exit status before it.
func (tm *terminal) prompts(n int) (status string) {
	tm.t.Helper()
	eventually(tm.t, func() bool {
		data, err := os.ReadFile(tm.ended)
		must(tm.t, err)
		all := strings.Fields(string(data))
		if len(all) >= n {
			status = all[n-1]
		}
		return len(all) >= n
	}, "prompt %d", n)
	return status
}

func (tm *terminal) count() int {
	data, err := os.ReadFile(tm.ended)
	must(tm.t, err)
	return strings.Count(string(data), "\n")
}

func (tm *terminal) typeIn(text string) {
	tm.t.Helper()
	tm.tmux("send-keys", "-l", text)
	tm.tmux("send-keys", "Enter")
}

func (tm *terminal) screen() string { return tm.tmux("capture-pane", "-p", "-e") }

// shows waits until the screen has a text.
func (tm *terminal) shows(text string) {
	tm.t.Helper()
	eventually(tm.t, func() bool { return strings.Contains(tm.screen(), text) }, "%q on the screen", text)
}

// run types commands, and meanwhile does what is wanted. It returns what is then on the screen, with
// escape sequences for colours, and the exit status of the last.
func (tm *terminal) run(commands []string, meanwhile func()) (screen, status string) {
	tm.t.Helper()
	n := tm.count()
	tm.typeIn("clear")
	tm.prompts(n + 1)
	for i, command := range commands {
		tm.typeIn(command)
		if i == len(commands)-1 && meanwhile != nil {
			meanwhile()
		}
		status = tm.prompts(n + 2 + i)
	}
	eventually(tm.t, func() bool { // bash writes the prompt after it has run PROMPT_COMMAND
		screen = strings.TrimRight(tm.screen(), "\n ")
		return strings.HasSuffix(screen, "\n$")
	}, "the prompt")
	return strings.TrimRight(strings.TrimSuffix(screen, "$"), "\n") + "\n", status
}

// stable replaces what differs from run to run by text of the same width, so that lines stay as they are.
type stable struct {
	names *strings.Replacer // of addresses
	ids   []string          // of messages, as they came
}

func newStable(p *patient) *stable {
	var pairs []string
	put := func(addr, name string) {
		if len(addr) != len(name) {
			p.t.Fatalf("the address %s is not as wide as %s", addr, name)
		}
		pairs = append(pairs, addr, name)
	}
	for i, l := range p.lookupds {
		put(l.HTTPAddr(), fmt.Sprintf("look-%d.lan:4161", i+1))
	}
	for i, s := range p.nsqds {
		put(s.Addr(), fmt.Sprintf("nsqd-%d.lan:4150", i+1))
		put(s.HTTPAddr(), fmt.Sprintf("nsqd-%d.lan:4151", i+1))
	}
	return &stable{names: strings.NewReplacer(pairs...)}
}

var (
	anyID    = regexp.MustCompile(`\b[0-9a-f]{16}\b`)
	ageOfRow = regexp.MustCompile(`(?m)^(18ac[0-9a-f]{12} +)( *)(\d+)s`)
	clock    = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}\b`)
	instant  = regexp.MustCompile(`\b2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ, \d+s ago`)
)

func (s *stable) text(screen string) string {
	screen = s.names.Replace(screen)
	screen = anyID.ReplaceAllStringFunc(screen, func(id string) string {
		n := slices.Index(s.ids, id)
		if n < 0 {
			n = len(s.ids)
			s.ids = append(s.ids, id)
		}
		return fmt.Sprintf("18ac251dd4%03d000", 800+n)
	})
	screen = ageOfRow.ReplaceAllStringFunc(screen, func(m string) string {
		return regexp.MustCompile(` +\d+s$`).ReplaceAllStringFunc(m, func(age string) string { return fmt.Sprintf("%*s", len(age), "4s") })
	})
	screen = clock.ReplaceAllString(screen, "03:07:12.345")
	return instant.ReplaceAllString(screen, "2026-11-28T03:05:00Z, 4s ago")
}

// everywhere is an option that names all nsqds.
func (p *patient) everywhere() nsqx.Option {
	addrs := make([]string, 0, len(p.nsqds))
	for _, s := range p.nsqds {
		addrs = append(addrs, s.Addr())
	}
	return nsqx.WithNSQD(addrs...)
}

// byAddress sorts nsqds as the program does.
func (p *patient) byAddress() { p.nsqds = byAddr(p.nsqds) }
