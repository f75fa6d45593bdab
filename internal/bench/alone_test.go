package main

import (
	"errors"
	"sync/atomic"
	"testing"
)

// TestDecodeAlone: the warm-up is not measured, and then there is one call for each message.
func TestDecodeAlone(t *testing.T) {
	j := job{Messages: 1000, Size: 200, Workers: 7}
	var decoded atomic.Int64
	kept := make([][]byte, j.Messages+j.warmup())
	used, err := decodeAlone(j, func(body []byte) error {
		kept[decoded.Add(1)-1] = make([]byte, len(body))
		return nil
	})
	if err != nil || int(decoded.Load()) != len(kept) {
		t.Errorf("%d decoded, %v; want %d", decoded.Load(), err, len(kept))
	}
	if used.Allocs < 1000 || used.Allocs > 1000+200 || used.Bytes < 200*1000 || used.Wall <= 0 {
		t.Errorf("used %+v, want little beyond 1000 allocations of 200 bytes", used)
	}
	failed := errors.New("failed")
	if _, err := decodeAlone(j, func([]byte) error { return failed }); err != failed {
		t.Errorf("%v, want the error", err)
	}
}
