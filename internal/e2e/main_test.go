// Package e2e tests nsqx against the real nsqd, which package testnsqd runs in the test process.
package e2e

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if testnsqd.ChildMain() {
		return
	}
	moreParallel()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // tests provoke thousands of failures
	goleak.VerifyTestMain(leakChecked{m}, testnsqd.Leaks()...)
}

// moreParallel runs more tests at once than there are CPUs, unless -parallel is set: most of the
// time tests wait for a timeout.
func moreParallel() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "8") // an error would show in every test
	}
}

// leakChecked fails a run that leaves sockets open, which goleak does not see. It runs stalls
// meanwhile.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	before := len(openFiles())
	ended, ticking := make(chan struct{}), sync.WaitGroup{}
	ticking.Go(func() { stalls.run(ended) })
	code := l.m.Run()
	removePrograms()
	close(ended)
	ticking.Wait()
	if code == 0 && !settles(func() bool { return len(openFiles()) <= before }) {
		fmt.Fprintf(os.Stderr, "e2e: %d files are open, %d were before\n", len(openFiles()), before)
		return 1
	}
	return code
}

// openFiles returns the targets of this process's file descriptors, without those of the runtime's
// poller.
func openFiles() (targets []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err) // no test here means anything without it
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(target, "anon_inode:") {
			targets = append(targets, target)
		}
	}
	return targets
}
