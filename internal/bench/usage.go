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

// usage is what this process has used so far, or between two times.
type usage struct {
	CPU    time.Duration // user and system
	Wall   time.Duration
	Allocs uint64 // heap objects
	Bytes  uint64 // of heap objects
	Writes int    // write calls of any kind; 0 where not counted
}

// memory is this process's memory.
type memory struct {
	Goroutines int
	RSS        int // bytes; 0 where unknown
	Peak       int // maximum of RSS so far
	Live       int // bytes of live heap objects and stacks; only after a collection
}

// currentMemory does not include the parent's peak, as getrusage does.
func currentMemory() memory {
	return memory{Goroutines: runtime.NumGoroutine(), RSS: status("VmRSS:"), Peak: status("VmHWM:")}
}

// collectedMemory collects garbage first, several times: a sync.Pool survives one collection, and a
// stack shrinks by half with each.
func collectedMemory() memory {
	for range 3 {
		debug.FreeOSMemory()
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m := currentMemory()
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

// status returns a value of /proc/self/status in bytes.
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

// writeCalls asks the kernel, because not every client lets its connection be wrapped. Linux counts
// calls by process, including those that wake the runtime's poller.
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
