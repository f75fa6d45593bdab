package main

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
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
