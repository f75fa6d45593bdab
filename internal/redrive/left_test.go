package redrive

import (
	"testing"

	"github.com/nsqx/nsqx/handler"
)

// TestLeft: a message is new once; beyond the limit it cannot be known.
func TestLeft(t *testing.T) {
	var l Left
	message := func(n int) *handler.Message {
		var d handler.Delivery
		d.Init(nil, handler.ID{byte(n), byte(n >> 8), byte(n >> 16)}, 1, 0, nil)
		return d.Message()
	}
	for n := range maxLeft {
		if first, err := l.Add(message(n)); !first || err != nil {
			t.Fatal(n, first, err)
		}
	}
	if first, err := l.Add(message(7)); first || err != nil {
		t.Error("again:", first, err)
	}
	if first, err := l.Add(message(maxLeft)); first || err == nil {
		t.Error("beyond the limit:", first, err)
	}
}
