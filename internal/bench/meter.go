package main

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// usage is what this process has used so far, or between two instants.
type usage struct {
	CPU    time.Duration // user and system
	Wall   time.Duration
	Allocs uint64 // heap objects
	Bytes  uint64 // of heap objects
	Writes int    // write calls of any kind; 0 where the system does not count them
}

func (u usage) since(start usage) usage {
	return usage{
		CPU:    u.CPU - start.CPU,
		Wall:   u.Wall - start.Wall,
		Allocs: u.Allocs - start.Allocs,
		Bytes:  u.Bytes - start.Bytes,
		Writes: u.Writes - start.Writes,
	}
}

// meter takes the usage at the two marks.
type meter struct {
	done func() // called at the second

	mu          sync.Mutex
	epoch       time.Time
	start, stop usage
}

// handle is what every client's handler does. It costs an ordinary message one comparison.
func (m *meter) handle(body []byte) {
	if body[0] == ordinary {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch body[0] {
	case startMark:
		m.epoch = time.Now()
		m.start = used(m.epoch)
	case stopMark:
		m.stop = used(m.epoch)
		m.done()
	}
}

// usage returns what was used between the marks.
func (m *meter) usage() usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stop.since(m.start)
}

func used(epoch time.Time) usage {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return usage{
		CPU:    cpuTime(),
		Wall:   time.Since(epoch),
		Allocs: mem.Mallocs,
		Bytes:  mem.TotalAlloc,
		Writes: writeCalls(),
	}
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// writeCalls asks the kernel, since not every client lets its connection be wrapped. Linux counts them by process;
// the runtime's own writes, to wake its poller, are among them.
func writeCalls() int {
	stat, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(stat) {
		if value, ok := bytes.CutPrefix(line, []byte("syscw:")); ok {
			n, _ := strconv.Atoi(string(bytes.TrimSpace(value)))
			return n
		}
	}
	return 0
}
