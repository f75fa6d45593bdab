package testnsqd

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// TestPumping: pumping finds the message pumps of its own nsqd only, and Quiesce waits for their
// end.
func TestPumping(t *testing.T) {
	s, other := Start(t), Start(t)
	if s.pumping() {
		t.Error("a message pump, and no client")
	}
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "  V2SUB orders billing\n")
	if _, err := io.ReadFull(c, make([]byte, 10)); err != nil { // the OK
		t.Fatal(err)
	}
	if !s.pumping() || other.pumping() {
		t.Errorf("a client has a message pump: %v, and without a client there is one: %v", s.pumping(), other.pumping())
	}
	time.AfterFunc(20*time.Millisecond, func() { c.Close() })
	s.Quiesce()
	if s.pumping() {
		t.Error("a message pump is left")
	}
}
