package conn_test

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestStreamsLeaveNothing: 100 connections over TCP for each way to end. When Serve has returned there is no goroutine and no file
// descriptor of theirs.
func TestStreamsLeaveNothing(t *testing.T) {
	const each = 100
	ends := []struct {
		name   string
		script func(p *fake.Peer)
		client func(c *conn.Conn)
		good   bool
	}{
		{"closed by nsqd", func(*fake.Peer) {}, func(*conn.Conn) {}, false},
		{"reset by nsqd", func(p *fake.Peer) { p.Reset() }, func(*conn.Conn) {}, false},
		{"error", func(p *fake.Peer) { p.Error("E_INVALID") }, func(*conn.Conn) {}, false},
		{"garbage", func(p *fake.Peer) { p.Raw(make([]byte, 100)) }, func(*conn.Conn) {}, false},
		{"half-closed", func(p *fake.Peer) { p.HalfClosed() }, func(c *conn.Conn) { c.CloseWrite() }, true},
		{"aborted", func(p *fake.Peer) { _, _ = p.Next() }, func(c *conn.Conn) { c.Abort(nil) }, false},
	}
	addr := fake.Listen(t, func(p *fake.Peer) {
		p.Subscribe(nil)
		p.Message(fake.ID(1), 1, nil)
		ends[(p.N-1)/each].script(p)
	})
	running := goleak.IgnoreCurrent()
	before := descriptors(t)
	for _, end := range ends {
		for range each {
			c, err := conn.Dial(t.Context(), addr, conn.Config{}, orders)
			if err != nil {
				t.Fatal(end.name, err)
			}
			end.client(c)
			err = c.Serve(new(streamSink))
			if end.good && (err == nil || errors.Is(err, conn.ErrNotConfirmed)) {
				continue // on a busy machine nsqd may take its time
			}
			if end.good || !isErr[*conn.Error](err) {
				t.Errorf("%s: Serve returned %v", end.name, err)
			}
		}
	}
	// nsqd's end is in this process, too, and may take a moment.
	for patience := time.Now().Add(10 * time.Second); descriptors(t) > before && time.Now().Before(patience); {
		time.Sleep(time.Millisecond)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
	goleak.VerifyNone(t, running)
}
