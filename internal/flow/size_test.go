package flow_test

import (
	"testing"

	"github.com/nsqx/nsqx/internal/flow"
)

func TestSize(t *testing.T) {
	var s flow.Size
	fit := func(what string, bytes, limit, low, top int) {
		t.Helper()
		if got := s.Fit(bytes, limit); got < low || got > top {
			t.Errorf("%s: %d fit into %d bytes, want %d to %d", what, got, bytes, low, top)
		}
	}
	tick := func(n int, messages, size uint64) {
		for range n {
			s.Fade()
			s.Add(messages, messages*size)
		}
	}
	fit("before anything has come", 1, 2500, 2500, 2500)
	tick(1, 10, 0)
	fit("empty bodies", 1, 2500, 2500, 2500)
	tick(100, 1000, 100)
	fit("small ones", 1<<20, 2500, 2500, 2500)
	fit("small ones", 1000, 2500, 10, 10)
	fit("one that is too large", 99, 2500, 1, 1)
	fit("nobody wants one", 1000, 0, 0, 0)
	tick(1, 10, 10_000)
	fit("as soon as there are large ones", 1_000_000, 2500, 100, 100)
	tick(50, 1000, 10_000)
	fit("5 s after they have become large", 1_000_000, 2500, 100, 100)
	tick(50, 1000, 100)
	fit("5 s after they are small again", 1_000_000, 2500, 2400, 2500)
	tick(1_000_000, 0, 0)
	fit("after a day without any", 1_000_000, 2500, 2400, 2500)
	tick(2, 1, 10_000)
	fit("and then two large ones", 1_000_000, 2500, 100, 200)
}
