package redrive

import (
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// TestLeft: a message is new once; beyond the limit it cannot be known.
func TestLeft(t *testing.T) {
	var l Left
	message := func(n int) *handler.Message {
		var d handler.Delivery
		d.Init(nil, handler.ID{byte(n), byte(n >> 8), byte(n >> 16)}, 1, 0, nil)
		return d.Message()
	}
	check.Want(t, "has one that was not added", l.Has(message(7)), false)
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
	check.Want(t, "has one that was added", l.Has(message(7)), true)
	check.Want(t, "has one beyond the limit", l.Has(message(maxLeft)), true)
}
