package main

import (
	"runtime"
	"testing"
)

// What is held is seen, once and as a peak.
func TestHeld(t *testing.T) {
	if runtime.GOOS != "linux" {
		if m := held(); m.RSS != 0 || m.Goroutines == 0 {
			t.Errorf("%+v", m)
		}
		return
	}
	const size = 256 << 20 // far more than what garbage may lie around
	before := heldIdle()   // so that nothing is left over to be used again
	block := make([]byte, size)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	during := held().since(before)
	runtime.KeepAlive(block)
	if during.RSS < size/2 || during.Peak < size/2 || before.RSS <= 0 {
		t.Errorf("with 256 MiB more: %+v; before %+v", during, before)
	}
	idle := heldIdle()
	if after := idle.since(before); after.RSS > during.RSS-size/2 || after.Peak < size/2 || idle.Live <= 0 {
		t.Errorf("afterwards: %+v, %+v more than before; with it %+v", idle, after, during)
	}
}
