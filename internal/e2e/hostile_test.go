package e2e

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/observe"
)

// In these cases go-nsq panics, hangs, runs out of memory, or reveals the secret. Most run against
// a scripted nsqd in memory, in virtual time. Not parallel: some measure the allocations of the
// process.

// hostilePeer records the commands a client sends to a script.
type hostilePeer struct {
	mu   sync.Mutex
	sent []string
}

// play runs script for each connection, then reads until the client closes.
func (e *hostilePeer) play(script func(p *fake.Peer)) func(p *fake.Peer) {
	return func(p *fake.Peer) {
		script(p)
		for {
			if _, err := p.Next(); err != nil {
				break
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, cmd := range p.Log {
			e.sent = append(e.sent, cmd.Name)
		}
	}
}

// commands returns the names of the commands received over all connections that have ended.
func (e *hostilePeer) commands() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.sent)
}

// runAgainst runs a consumer against script until its first connection fails. It returns the
// commands sent by then and the error. The failure must come in time, the consumer must survive it,
// and its memory must not grow.
func runAgainst(t *testing.T, script func(p *fake.Peer), cfg conn.Config, within time.Duration) (sent []string, err error) {
	t.Helper()
	const budget = 8 << 20
	synctest.Test(t, func(t *testing.T) {
		var e hostilePeer
		n := fake.NewNetwork(t, e.play(script))
		cfg.DialContext = n.DialContext
		w := new(watch)
		c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithNSQD("nsqd:4150"), nsqx.WithConn(cfg), nsqx.WithHooks(w.hooks()))
		before, began := allocatedBytes(), time.Now()
		r := start(t, c)
		failures := func() []observe.ConnEvent { return append(w.events(&w.dialErrors), w.events(&w.disconnects)...) }
		eventually(t, func() bool { return len(failures()) > 0 }, "the connection to fail")
		if took := time.Since(began); took > within+5*time.Millisecond { // eventually polls that often
			t.Errorf("it took %v, want %v at most", took, within)
		}
		if grown := allocatedBytes() - before; grown > budget {
			t.Errorf("%d bytes were allocated, want %d at most", grown, budget)
		}
		synctest.Wait()
		sent, err = e.commands(), failures()[0].Err
		if c.Healthy() == nil {
			t.Error("the consumer calls itself healthy")
		}
		r.mustStop()
	})
	return sent, err
}

func allocatedBytes() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestHostileEmptyIdentify: an empty answer to IDENTIFY is an error that names the answer and is
// not retried soon. Nothing else is sent.
func TestHostileEmptyIdentify(t *testing.T) {
	sent, err := runAgainst(t, func(p *fake.Peer) {
		p.Magic()
		p.Expect("IDENTIFY")
		p.Response("")
	}, conn.Config{}, 0)
	e, ok := errors.AsType[*conn.Error](err)
	if !ok || e.Phase != conn.PhaseIdentify || !e.Permanent() || !isA[*conn.AnswerError](err) || !slices.Equal(sent, []string{"IDENTIFY"}) {
		t.Errorf("error is %v; sent %v", err, sent)
	}
}

// TestHostileFrameOf2GiB: a frame header announces 2 GiB. The connection is closed at once, before
// memory is allocated.
func TestHostileFrameOf2GiB(t *testing.T) {
	for typ := range int32(3) {
		_, err := runAgainst(t, func(p *fake.Peer) {
			p.Subscribe(nil)
			p.Raw([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, byte(typ)})
		}, conn.Config{}, 0)
		if !isA[*wire.FrameSizeError](err) {
			t.Errorf("frame type %d: error is %v", typ, err)
		}
	}
}

// TestHostileTLSStripT1: TLS is configured, but the peer offers none and requires AUTH. The
// connection fails closed, and AuthSecret is not even called.
func TestHostileTLSStripT1(t *testing.T) {
	cfg := conn.Config{
		TLS:                testnsqd.NewAuthority(t).ClientConfig(),
		AllowPlaintextAuth: true, // applies only to configurations without TLS
		AuthSecret: func(context.Context) (string, error) {
			t.Error("the secret was asked for")
			return canary, nil
		},
	}
	sent, err := runAgainst(t, func(p *fake.Peer) {
		p.Identify(map[string]any{"tls_v1": false, "auth_required": true})
	}, cfg, 0)
	if !errors.Is(err, conn.ErrNoTLS) || !slices.Equal(sent, []string{"IDENTIFY"}) {
		t.Errorf("error is %v; sent %v", err, sent)
	}
}

// TestHostileNegativeMaxRDY: max_rdy_count is below 1. That is a protocol error and never becomes a
// RDY.
func TestHostileNegativeMaxRDY(t *testing.T) {
	for _, n := range []int{-5, 0, -1 << 62} {
		sent, err := runAgainst(t, func(p *fake.Peer) { p.Identify(map[string]any{"max_rdy_count": n}) }, conn.Config{}, 0)
		if e, ok := errors.AsType[*conn.AnswerError](err); !ok || e.Field != "max_rdy_count" || slices.Contains(sent, "RDY") {
			t.Errorf("%d: error is %v; sent %v", n, err, sent)
		}
	}
}

// TestHostileDrippedHandshake: each byte comes before a read deadline would end. One deadline ends
// the whole handshake.
func TestHostileDrippedHandshake(t *testing.T) {
	const timeout = 3 * time.Second
	_, err := runAgainst(t, func(p *fake.Peer) {
		p.Magic()
		p.Expect("IDENTIFY")
		for _, b := range fake.Frame(fake.FrameResponse, []byte(`{"version":"`+strings.Repeat("1", 200)+`"}`)) {
			p.Raw([]byte{b})
			time.Sleep(300 * time.Millisecond)
		}
	}, conn.Config{HandshakeTimeout: timeout}, timeout)
	if e, ok := errors.AsType[*conn.Error](err); !ok || e.Phase != conn.PhaseIdentify || !strings.Contains(err.Error(), "not done within 3s") {
		t.Errorf("error is %v", err)
	}
}

// TestHostileBomb: a frame of 64 MiB of zeros is 65 KB of deflate. It is refused by its header and
// not decompressed.
func TestHostileBomb(t *testing.T) {
	const size = 64 << 20
	var bomb bytes.Buffer
	z, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	head := fake.Frame(fake.FrameMessage, nil)
	head[0] = size >> 24
	for _, part := range [][]byte{head, make([]byte, size)} {
		if _, err := z.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err = runAgainst(t, func(p *fake.Peer) {
		p.Identify(map[string]any{"deflate": true})
		p.UpgradeDeflate()
		p.Expect("SUB")
		p.Response("OK")
		_, _ = p.Conn.Write(bomb.Bytes()) // fails once the client has closed
	}, conn.Config{Compression: conn.Deflate}, 0)
	if !isA[*wire.IDError](err) {
		t.Errorf("error is %v", err)
	}
}

// TestHostileLookupBody: an nsqlookupd sends an endless answer. The answer is cut at 1 MiB and
// counts as an error. The connection to nsqd still works.
func TestHostileLookupBody(t *testing.T) {
	s := testnsqd.Start(t)
	var sent atomic.Int64
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		piece := strings.Repeat(`{"broadcast_address":"127.0.0.1","tcp_port":1},`, 1000)
		_, err := io.WriteString(w, `{"producers":[`)
		for err == nil {
			_, err = io.WriteString(w, piece)
			sent.Add(int64(len(piece)))
		}
	}))
	t.Cleanup(endless.Close)
	book := newLedger()
	c := newConsumer(t, handles(book), nsqx.WithNSQD(s.Addr()), nsqx.WithLookupd(endless.URL))
	r := start(t, c)
	eventually(t, func() bool { return c.Stats().Lookups[0].Errors > 0 }, "the poll to fail")
	publish(t, s, topic, []byte("m"))
	book.wait(t, 1)
	r.mustStop()
	l, most := c.Stats().Lookups[0], int64(64<<20) // includes what the kernel buffers
	if l.LastErr == nil || !strings.Contains(l.LastErr.Error(), "larger than 1048576 bytes") || l.Found != 0 || sent.Load() > most {
		t.Errorf("%+v after %d bytes", l, sent.Load())
	}
}

// TestHostileRedirect: an nsqlookupd redirects to another port of its host. Go would send the
// Authorization there, so no redirect is followed.
func TestHostileRedirect(t *testing.T) {
	trap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked, with Authorization %q", r.URL, r.Header.Get("Authorization"))
	}))
	t.Cleanup(trap.Close)
	var asked atomic.Int64
	redirects := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+canary {
			asked.Add(1)
		}
		http.Redirect(w, r, trap.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(redirects.Close)
	c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithLookupd(redirects.URL), soon,
		nsqx.WithLookupdClient(nsqx.LookupdClient{
			HTTPClient:    &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, // follows redirects
			Authorization: func(context.Context) (string, error) { return "Bearer " + canary, nil },
		}))
	r := start(t, c)
	polled(t, c, 2)
	r.mustStop()
	if l := c.Stats().Lookups[0]; l.Errors < 2 || asked.Load() < 2 || !strings.Contains(fmt.Sprint(l.LastErr), "307") {
		t.Errorf("%+v, asked %d times", l, asked.Load())
	}
}

// TestHostilePanicF17: a message makes the handler panic. The panic becomes an error with a stack,
// the message is requeued, and the process and the worker survive.
func TestHostilePanicF17(t *testing.T) {
	s := testnsqd.Start(t)
	book, w := newLedger(), new(watch)
	c := newConsumer(t, func(ctx context.Context, body string) error {
		book.begin(ctx, body)
		if body == "bad" && handler.FromContext(ctx).Attempts < 3 {
			_ = []int{}[len(body)]
		}
		book.succeed(body)
		return nil
	}, nsqx.WithNSQD(s.Addr()), nsqx.WithHooks(w.hooks()), nsqx.WithConcurrency(1), at(0))
	publish(t, s, topic, []byte("bad"), []byte("good"))
	r := start(t, c)
	finished(t, s, c, 2)
	r.mustStop()
	panics := 0
	for _, o := range w.settled() {
		if e, ok := errors.AsType[*handler.PanicError](o.outcome.Err); ok && strings.Contains(string(e.Stack), "hostile_test.go") && o.outcome.Disposition == handler.Requeue {
			panics++
		}
	}
	if panics != 2 || len(book.of("bad")) != 3 || len(book.of("good")) != 1 {
		t.Errorf("%d panics in %+v", panics, w.settled())
	}
}
