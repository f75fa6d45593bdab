package e2e

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestAddresses consumes from nsqd on a unix socket and on IPv6, configured and discovered.
func TestAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nsqd.sock")
	l := testnsqd.StartLookupd(t)
	onIPv6 := func(o *nsqd.Options) { o.BroadcastAddress = "::1" }
	for name, tt := range map[string]struct {
		listen string
		option func(s *testnsqd.Server) (nsqx.Option, string)
	}{
		"unix": {path, func(*testnsqd.Server) (nsqx.Option, string) { return nsqx.WithNSQD("unix://" + path), "unix://" + path }},
		"IPv6": {"[::1]:0", func(s *testnsqd.Server) (nsqx.Option, string) { return nsqx.WithNSQD(s.Addr()), s.Addr() }},
		"IPv6, found": {"[::1]:0", func(s *testnsqd.Server) (nsqx.Option, string) {
			// nsqd may register its topic after the first poll.
			return nsqx.WithOptions(nsqx.WithLookupd(l.HTTPAddr()), soon), s.Addr()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := testnsqd.StartAt(t, tt.listen, onIPv6, l.Register)
			option, want := tt.option(s)
			publish(t, s, topic, []byte("m"))
			w := new(watch)
			c := newConsumer(t, handles(newLedger()), option, nsqx.WithHooks(w.hooks()))
			r := start(t, c)
			finished(t, s, c, 1)
			s.Restart()
			w.connected(t, 2)
			publish(t, s, topic, []byte("again"))
			eventually(t, func() bool { return c.Stats().Finished == 2 }, "the next message")
			r.mustStop()
			if got := addresses(c); !slices.Contains(got, want) {
				t.Errorf("addresses %q, want %q", got, want)
			}
		})
	}
}

// nameServer answers every query for an IPv4 address with addr.
type nameServer struct {
	mu        sync.Mutex
	addr      net.IP
	questions int
}

func (n *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			n.answer(server)
		}()
		return client, nil
	}}
}

func (n *nameServer) answer(c net.Conn) {
	// Over a stream, each DNS message is preceded by its length.
	var size [2]byte
	for {
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		end := 12 // end of the question: name, type and class
		for query[end] != 0 {
			end += 1 + int(query[end])
		}
		end += 5
		isA := query[end-3] == 1
		answer := append([]byte{}, query[:end]...)
		answer[2], answer[3] = 0x81, 0x80 // a response, recursion available
		clear(answer[6:12])
		if isA {
			n.mu.Lock()
			n.questions++
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4) // valid for a minute
			answer = append(answer, n.addr.To4()...)
			n.mu.Unlock()
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// TestNamesAreResolvedAgain: an nsqd with a name moves to another address. The next dial finds it.
func TestNamesAreResolvedAgain(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	here := testnsqd.StartProxy(t, s.Addr())
	_, port, _ := net.SplitHostPort(here.Addr())
	there := testnsqd.StartProxyAt(t, net.JoinHostPort("127.0.0.2", port), s.Addr())
	names := &nameServer{addr: net.IPv4(127, 0, 0, 1)}
	dialer := net.Dialer{Resolver: names.resolver()}
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithNSQD("nsqd.test:"+port), nsqx.WithHooks(w.hooks()),
		nsqx.WithConn(conn.Config{DialContext: dialer.DialContext}))
	r := start(t, c)
	w.connected(t, 1)
	names.mu.Lock()
	names.addr = net.IPv4(127, 0, 0, 2)
	names.mu.Unlock()
	here.Refuse()
	here.Cut()
	w.connected(t, 2)
	publish(t, s, topic, []byte("m"))
	finished(t, s, c, 1)
	r.mustStop()
	if here.Accepted() != 1 || there.Accepted() != 1 || names.questions != 2 {
		t.Errorf("%d and %d connections, %d questions", here.Accepted(), there.Accepted(), names.questions)
	}
}
