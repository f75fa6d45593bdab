package main

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
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

// memory is what this process holds.
type memory struct {
	Goroutines int
	RSS        int // bytes; 0 where the system does not tell
	Peak       int // of RSS so far
	Live       int // bytes of heap objects that are in use, and of stacks; only where it was collected
}

// held does not count what a child has of its parent, as getrusage does.
func held() memory {
	return memory{Goroutines: runtime.NumGoroutine(), RSS: status("VmRSS:"), Peak: status("VmHWM:")}
}

// heldIdle collects first.
func heldIdle() memory {
	debug.FreeOSMemory()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m := held()
	m.Live = int(mem.HeapAlloc + mem.StackInuse)
	return m
}

func (m memory) since(start memory) memory {
	return memory{
		Goroutines: m.Goroutines - start.Goroutines,
		RSS:        m.RSS - start.RSS,
		Peak:       m.Peak - start.RSS,
		Live:       m.Live - start.Live,
	}
}

// status is a line of what Linux knows of this process, in bytes.
func status(name string) int {
	all, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(all) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			kB, _ := strconv.Atoi(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(value), []byte("kB")))))
			return kB << 10
		}
	}
	return 0
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
