// Package e2e tests nsqx against the real nsqd, which runs in the process of
// the test: see package testnsqd.
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
	slog.SetDefault(slog.New(slog.DiscardHandler)) // thousands of failures are wanted here
	goleak.VerifyTestMain(leakChecked{m}, testnsqd.Leaks()...)
}

// moreParallel runs more tests at once than there are processors, unless
// -parallel says how many: most of the time they wait for a timeout.
func moreParallel() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "8") // what is wrong with it, every test run would show
	}
}

// leakChecked fails a run that leaves sockets open: goleak sees goroutines only.
// The heart beats as long as it lasts.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	before := len(openFiles())
	ended, beating := make(chan struct{}), sync.WaitGroup{}
	beating.Go(func() { heart.run(ended) })
	code := l.m.Run()
	close(ended)
	beating.Wait()
	if code == 0 && !settles(func() bool { return len(openFiles()) <= before }) {
		fmt.Fprintf(os.Stderr, "e2e: %d files are open, %d were before\n", len(openFiles()), before)
		return 1
	}
	return code
}

// openFiles are the targets of this process's file descriptors, without those
// that the runtime's poller keeps.
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
