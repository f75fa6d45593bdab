package fake_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// sink takes no messages.
type sink struct{}

func (sink) Deliver(*conn.Conn, []handler.Delivery) {}
func (sink) Refused(*conn.Conn, error)              {}
func (sink) Yielded(*conn.Conn)                     {}

// TestJournal keeps commands in order, and finds them by name.
func TestJournal(t *testing.T) {
	var j fake.Journal
	ended := make(chan struct{})
	net := fake.NewNetwork(t, func(p *fake.Peer) {
		defer close(ended)
		p.Subscribe(nil)
		j.Follow(p)
	})
	c, err := conn.Dial(t.Context(), "nsqd:4150", conn.Config{DialContext: net.DialContext},
		&conn.Subscription{Topic: "orders", Channel: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = c.Serve(sink{})
	}()
	c.SetQuota(3)
	for deadline := time.Now().Add(10 * time.Second); len(j.Commands("RDY")) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	c.Abort(nil)
	<-ended
	<-served
	if got := j.Commands("RDY"); !slices.Equal(got, []string{"RDY 1"}) {
		t.Errorf("RDYs: got %q, want RDY 1, the window of a quiet connection", got)
	}
	if got := j.Commands("FIN"); got != nil {
		t.Errorf("FINs: got %q, want none", got)
	}
}
