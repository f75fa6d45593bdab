package main

import (
	"runtime"
	"testing"
)

// TestMemory: memory shows in RSS, and after its release in the peak only.
func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		if m := currentMemory(); m.RSS != 0 || m.Goroutines == 0 {
			t.Errorf("%+v", m)
		}
		return
	}
	const size = 256 << 20      // far more than the garbage around
	before := collectedMemory() // releases memory that could be reused
	block := make([]byte, size)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	during := currentMemory().since(before)
	runtime.KeepAlive(block)
	if during.RSS < size/2 || during.Peak < size/2 || before.RSS <= 0 {
		t.Errorf("with 256 MiB more: %+v; before %+v", during, before)
	}
	idle := collectedMemory()
	if after := idle.since(before); after.RSS > during.RSS-size/2 || after.Peak < size/2 || idle.Live <= 0 {
		t.Errorf("afterwards: %+v, %+v more than before; with it %+v", idle, after, during)
	}
}
