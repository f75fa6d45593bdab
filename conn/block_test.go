package conn_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/pipe"
)

// Tests of block.go.

// flow is a connection by the real clock with plain bytes at the other end, so that only the
// connection allocates.
type flow struct {
	c      *conn.Conn
	nc     net.Conn // nsqd's end
	served chan error
	got    chan int            // messages delivered
	held   []*handler.Delivery // a ring
	next   int
}

// openFlow opens a flow that holds window messages before it settles the oldest.
func openFlow(t *testing.T, window int) *flow {
	t.Helper()
	client, server := pipe.New()
	f := &flow{nc: server, served: make(chan error, 1), got: make(chan int, 1<<14), held: make([]*handler.Delivery, window+1)}
	shaken := make(chan struct{})
	go func() {
		defer close(shaken)
		fake.NewPeer(t, server).Subscribe(nil)
	}()
	dial := func(context.Context, string, string) (net.Conn, error) { return client, nil }
	c, err := conn.Dial(t.Context(), address, conn.Config{DialContext: dial}, orders)
	<-shaken
	if err != nil {
		t.Fatal(err)
	}
	f.c = c
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, onlyReader{server})
	}()
	go func() { f.served <- c.Serve(f) }()
	t.Cleanup(func() {
		c.Abort(nil)
		<-f.served
		<-read
		_ = server.Close()
	})
	return f
}

// onlyReader hides io.WriterTo from io.Copy.
type onlyReader struct{ io.Reader }

func (f *flow) Deliver(c *conn.Conn, msgs []handler.Delivery) {
	for i := range msgs {
		f.held[f.next] = &msgs[i]
		f.next = (f.next + 1) % len(f.held)
		if m := f.held[f.next]; m != nil { // the oldest of more than window
			f.held[f.next] = nil
			c.Finish(m)
			m.Release()
		}
	}
	f.got <- len(msgs)
}

func (f *flow) Refused(*conn.Conn, error) {}
func (f *flow) Yielded(*conn.Conn)        {}

// send writes raw, which contains n messages, and waits until they are delivered.
func (f *flow) send(t *testing.T, raw []byte, n int) {
	t.Helper()
	if _, err := f.nc.Write(raw); err != nil {
		t.Fatal(err)
	}
	for n > 0 {
		n -= <-f.got
	}
}

// TestAllocations checks that in the steady state 32 messages share one allocation, that 32 reads
// share one, and that blocks are reused.
func TestAllocations(t *testing.T) {
	const n = 32 * 300
	const small, large, wide = 4 << 10, 64 << 10, 256 << 10
	for name, c := range map[string]struct{ together, window, body, block int }{
		"settled at once":              {n, 0, 200, large},
		"1000 messages held":           {n, 1000, 200, large},
		"settled at once, no body":     {n, 0, 0, large},
		"100 messages of 4 KB held":    {n, 100, 4000, large},
		"100 messages of 16 KB held":   {n / 10, 100, 16000, wide},
		"one by one, settled at once":  {1, 0, 200, small},
		"one by one, 100 held":         {1, 100, 200, small},
		"ten by ten, 100 of 1 KB held": {10, 100, 1000, 4 * small},
	} {
		t.Run(name, func(t *testing.T) {
			f := openFlow(t, c.window)
			raw := bytes.Repeat(fake.Message(0, fake.ID(1), 1, make([]byte, c.body)), c.together)
			sendAll := func() {
				for range n / c.together {
					f.send(t, raw, c.together)
				}
			}
			sendAll() // lets blocks and buffers grow
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sendAll()
			runtime.ReadMemStats(&after)
			allocs, size := after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
			t.Logf("%.4f allocations, %d bytes a message", float64(allocs)/n, size/n)
			// Less than half of the read memory may be new: a fresh block takes 4 allocations.
			read := uint64(n * (34 + c.body))
			reads := uint64(n/c.together) + read/(32<<10) // about
			if limit := (n+reads)/32*11/10 + read/uint64(c.block)*2; allocs > limit {
				t.Errorf("%d allocations for %d messages, want at most %d", allocs, n, limit)
			}
			if limit := (n*72+reads*64)*11/10 + read/2 + 2<<20; size > limit {
				t.Errorf("%d bytes allocated for %d messages of %d, want at most %d", size, n, c.body, limit)
			}
		})
	}
}

// TestMemoryIsGivenBack checks that neither the memory of a large frame nor that of held messages
// is kept.
func TestMemoryIsGivenBack(t *testing.T) {
	f := openFlow(t, 10)
	big := fake.Message(0, fake.ID(1), 1, make([]byte, 1<<20))
	small := bytes.Repeat(fake.Message(0, fake.ID(1), 1, make([]byte, 100)), 100)
	f.send(t, small, 100)
	before := inUse()
	for range 10 {
		f.send(t, big, 1)
	}
	if got := inUse() - before; got < 9<<20 {
		t.Errorf("10 messages of 1 MiB are held in %d bytes", got)
	}
	f.send(t, small, 100)
	if got := inUse() - before; got > 1<<20 {
		t.Errorf("%d bytes are kept after all messages were released", got)
	}
}

// TestBlockOfQuietConnection checks that a connection reads into a small block after two heartbeats
// without a message between them, and into large ones again under load. Messages that are held keep
// their bodies.
func TestBlockOfQuietConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		body := bytes.Repeat([]byte("x"), 200)
		load := func(n int) {
			for i := range n {
				s.p.Raw(bytes.Repeat(fake.Message(0, fake.ID(uint64(i)), 1, body), 100))
				synctest.Wait()
			}
		}
		room := func(what string, least, most int64) {
			t.Helper()
			synctest.Wait()
			if n := s.tap.room.Load(); n < least || n > most {
				t.Errorf("%s: a read into %d bytes, want %d to %d", what, n, least, most)
			}
		}
		room("at first", 1, 1<<10)
		for range 3 {
			load(20)
			room("under load", 1<<10, 64<<10)
			for range 3 { // a message now and then
				s.p.Heartbeat()
				s.p.Raw(fake.Message(0, fake.ID(1), 1, body))
				room("a heartbeat later", 1<<10, 64<<10)
			}
			s.p.Heartbeat()
			s.p.Heartbeat()
			room("two heartbeats later", 1, 1<<10)
		}
		for _, m := range s.sink.messages() {
			if !bytes.Equal(m.Body, body) {
				t.Fatalf("body of a held message: %.20q", m.Body)
			}
		}
	})
}

func inUse() int64 {
	runtime.GC()
	runtime.GC() // a sync.Pool survives one collection
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
