package e2e

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// tofile starts examples/tofile for batches of 50, and at most 100 messages in flight.
func tofile(t *testing.T, dir string, addrs []string, args ...string) *app {
	t.Helper()
	return startApp(t, executable(t, examples, "tofile"), "", append([]string{"-topic", topic, "-channel", channel, "-dir", dir,
		"-nsq", "nsq://" + strings.Join(addrs, ",") + "?batch=50,50ms&max_in_flight=100"}, args...)...)
}

// nsqToFile starts the original.
func nsqToFile(t *testing.T, dir string, addrs []string, args ...string) *app {
	t.Helper()
	args = append([]string{"--topic=" + topic, "--channel=" + channel, "--output-dir=" + dir, "--sync-interval=100ms",
		"--max-in-flight=100", "--consumer-opt=lookupd_poll_interval,100ms"}, args...)
	for _, addr := range addrs {
		args = append(args, "--nsqd-tcp-address="+addr)
	}
	return startApp(t, executable(t, originalApps, "nsq_to_file"), "", args...)
}

// filed are the complete lines of the files below directories, which may end with .gz, in the order of
// their names. A cut line at the end of a file is left out.
func filed(t *testing.T, dirs ...string) (lines []string) {
	t.Helper()
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Error(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if strings.HasSuffix(path, ".gz") && err == nil {
				text, err = unzipped(text)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may be moved just now
				t.Error(err)
			}
			for line := range strings.Lines(string(text)) {
				if whole, ended := strings.CutSuffix(line, "\n"); ended {
					lines = append(lines, whole)
				}
			}
		}
	}
	return lines
}

// unzipped returns what can be read of a text that may be cut short.
func unzipped(text []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err == nil {
		text, err = io.ReadAll(z)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return text, err
}

// burst publishes n messages, and returns their bodies.
func burst(t *testing.T, s *testnsqd.Server, prefix string, n int) (bodies []string) {
	t.Helper()
	all := numbered(prefix, n)
	s.Publish(topic, all...)
	for _, b := range all {
		bodies = append(bodies, string(b))
	}
	return bodies
}

// midway waits until a program has written some of the messages of nsqd to directories.
func midway(t *testing.T, s *testnsqd.Server, dirs ...string) {
	t.Helper()
	before := len(filed(t, dirs...))
	eventually(t, func() bool { return len(filed(t, dirs...)) > before }, "lines")
	t.Logf("%d lines, %d messages are left", len(filed(t, dirs...)), s.Unfinished())
}

// drained waits until nsqd has no message any more. It counts a message nowhere while it moves it.
func drained(t *testing.T, s *testnsqd.Server) {
	t.Helper()
	quiet := 0
	eventually(t, func() bool {
		if quiet++; s.Unfinished() > 0 {
			quiet = 0
		}
		return quiet > 10
	}, "all messages to be finished")
}

// wantLines checks that got has each line of want, and at most extra lines more, which repeat others.
func wantLines(t *testing.T, got, want []string, extra int) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if n := len(got) - len(want); n > extra {
		t.Errorf("%d lines came again, want %d at most", n, extra)
	} else {
		t.Logf("%d lines, %d came again", len(want), n)
	}
	if got = slices.Compact(got); !slices.Equal(got, want) {
		missing := slices.DeleteFunc(want, func(s string) bool { _, found := slices.BinarySearch(got, s); return found })
		t.Errorf("%d different lines; missing are %.10q", len(got), missing)
	}
}

// TestToFileBesideOriginal: the example writes the lines that nsq_to_file writes: all of them, in the
// order of each nsqd, with Ctrl-C in the middle, and with an nsqd that goes away and comes back.
func TestToFileBesideOriginal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		start func(*testing.T, string, []string, ...string) *app
		args  []string
		files int // at least
	}{
		"original":         {nsqToFile, nil, 1},
		"ours":             {tofile, nil, 3},
		"gzip, original":   {nsqToFile, []string{"--gzip"}, 3},
		"gzip, ours":       {tofile, []string{"-gzip", "6"}, 3},
		"rotate, original": {nsqToFile, []string{"--rotate-size=4000", "--datetime-format=%Y"}, 10},
		"rotate, ours":     {tofile, []string{"-rotate-size", "4000", "-datetime", "2006"}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var servers []*testnsqd.Server
			var proxies []*testnsqd.Proxy
			var addrs []string
			for range 2 {
				s := testnsqd.Start(t, func(o *nsqd.Options) { o.MemQueueSize = 10_000 }) // a queue on the disk would change the order
				s.EnsureChannel(topic, channel)
				p := testnsqd.StartProxy(t, s.Addr())
				servers, proxies, addrs = append(servers, s), append(proxies, p), append(addrs, p.Addr())
			}
			dir := t.TempDir()
			start := func() *app { return tt.start(t, dir, addrs, tt.args...) }
			a := start()
			want := make([][]string, len(servers))
			for i, s := range servers {
				want[i] = burst(t, s, fmt.Sprint("nsqd", i), 300)
			}
			for _, s := range servers {
				drained(t, s)
			}
			a.stop()
			for i := range servers {
				got := slices.DeleteFunc(filed(t, dir), func(line string) bool { return !strings.HasPrefix(line, fmt.Sprint("nsqd", i)) })
				if !slices.Equal(got, want[i]) {
					t.Errorf("lines of nsqd %d are %.20q…", i, got)
				}
			}

			all := slices.Concat(want...)
			all = append(all, burst(t, servers[0], "second", 1500)...)
			a = start()
			midway(t, servers[0], dir)
			a.stop() // Ctrl-C
			a = start()
			all = append(all, burst(t, servers[1], "third", 1500)...)
			midway(t, servers[1], dir)
			servers[1].QuiescedRestart(proxies[1])
			all = append(all, burst(t, servers[1], "fourth", 100)...)
			for _, s := range servers {
				drained(t, s)
			}
			a.stop()
			wantLines(t, filed(t, dir), all, 200) // Ctrl-C and the restart repeat at most what was in flight
			if files, err := os.ReadDir(dir); err != nil || len(files) < tt.files {
				t.Errorf("%d files, error %v, want %d at least", len(files), err, tt.files)
			}
		})
	}
}

// TestToFileKilled: after SIGKILL, again and again, no line is missing, and no more come again than
// were in flight.
func TestToFileKilled(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"plain":              nil,
		"gzip":               {"-gzip", "1"},
		"directory for work": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const kills = 4
			s := testnsqd.Start(t, messageTimeout(2*time.Second)) // which nsqd waits for answers of the dead
			s.EnsureChannel(topic, channel)
			dirs := []string{t.TempDir()}
			if name == "directory for work" {
				dirs = append(dirs, t.TempDir())
				args = []string{"-work", dirs[1]}
			}
			var want []string
			for i := range kills {
				want = append(want, burst(t, s, fmt.Sprint("round", i), 2000)...)
				a := tofile(t, dirs[0], []string{s.Addr()}, args...)
				midway(t, s, dirs...)
				a.kill()
			}
			a := tofile(t, dirs[0], []string{s.Addr()}, args...)
			drained(t, s)
			a.stop()
			wantLines(t, filed(t, dirs[0]), want, kills*100)
			if left := filed(t, dirs[1:]...); len(left) > 0 {
				t.Errorf("%d lines are left in the directory for work", len(left))
			}
		})
	}
}

// TestToFileDiskFull: files of which no more than 4 KB can be written, so that a write fails in the
// middle. Each line is there, and once.
func TestToFileDiskFull(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	dir := t.TempDir()
	want := burst(t, s, "0123456789", 1000)
	a := startApp(t, "/bin/bash", "", "-c", `ulimit -f 4; exec "$0" "$@"`, executable(t, examples, "tofile"),
		"-nsq", "nsq://"+s.Addr()+"?batch=50,50ms&backoff_first=10ms&max_backoff_duration=100ms", "-topic", topic, "-channel", channel, "-dir", dir)
	drained(t, s)
	a.stop()
	wantLines(t, filed(t, dir), want, 0)
	if !strings.Contains(a.log.String(), "file too large") {
		t.Errorf("no write has failed")
	}
}

// TestToFileShutdown: what has arrived when the program is told to end is on the disk, or back in nsqd,
// within the time that it takes.
func TestToFileShutdown(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	dir := t.TempDir()
	a := startApp(t, executable(t, examples, "tofile"), "", "-nsq", "nsq://"+s.Addr()+"?batch=100,30s", "-topic", topic, "-channel", channel, "-dir", dir)
	want := burst(t, s, "m", 10)
	eventually(t, func() bool { return s.Channel(topic, channel).InFlight == 10 }, "a batch to begin")
	time.Sleep(500 * time.Millisecond) // nsqd counts them before it sends them; what is on its way at the end goes back
	began := time.Now()
	a.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	wantLines(t, filed(t, dir), want, 0)
	if n := s.Unfinished(); n > 0 {
		t.Errorf("%d messages are not finished", n)
	}
}
