package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
)

// shortly is the timeout of a handshake that gets no answer. It leaves time for all earlier phases.
const shortly = 400 * time.Millisecond

// failingHandshake is a handshake that fails in a phase.
type failingHandshake struct {
	name  string
	addr  string
	conn  conn.Config
	phase conn.Phase
	ctx   time.Duration // timeout of the caller's ctx; 0 for none
}

// failingHandshakes uses the real nsqd where it can fail that way, else a script.
func failingHandshakes(t *testing.T) []failingHandshake {
	ca, stranger := testnsqd.NewAuthority(t), testnsqd.NewAuthority(t)
	real := func(mutate ...func(*nsqd.Options)) string { return testnsqd.Start(t, mutate...).Addr() }
	script := func(script func(p *fake.Peer)) string { return fake.Listen(t, script) }
	gone := testnsqd.Start(t)
	gone.Stop()
	full := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxChannelConsumers = 1 })
	occupy(t, full.Addr())

	// Unlike testnsqd's, this server keeps no idle connection to nsqd after each AUTH.
	denies := httptest.NewUnstartedServer(http.NotFoundHandler())
	denies.Config.SetKeepAlivesEnabled(false)
	denies.Start()
	t.Cleanup(denies.Close)
	denied := func(o *nsqd.Options) { o.AuthHTTPAddresses = []string{denies.URL + "/auth"} }

	identified := func(resp map[string]any) func(p *fake.Peer) {
		return func(p *fake.Peer) { p.Identify(resp) }
	}
	authenticated := func(p *fake.Peer) {
		p.Identify(map[string]any{"auth_required": true})
		_, _ = p.Next() // an error if the client has timed out
	}
	subscribed := func(p *fake.Peer) {
		p.Identify(nil)
		_, _ = p.Next()
	}
	garbage := func(p *fake.Peer) {
		p.Identify(map[string]any{"snappy": true})
		p.Raw([]byte(strings.Repeat("this is not snappy", 10)))
	}
	soon := conn.Config{HandshakeTimeout: shortly}
	with := func(change func(c *conn.Config)) conn.Config {
		c := soon
		change(&c)
		return c
	}
	tlsWanted := with(func(c *conn.Config) { c.TLS = ca.ClientConfig() })
	snappy, deflate := with(func(c *conn.Config) { c.Compression = conn.Snappy }), with(func(c *conn.Config) { c.Compression = conn.Deflate })
	known := with(func(c *conn.Config) { c.AuthSecret, c.AllowPlaintextAuth = secret, true })
	unhurried := conn.Config{AuthSecret: secret, AllowPlaintextAuth: true}

	return []failingHandshake{
		{"refused", gone.Addr(), conn.Config{}, conn.PhaseDial, 0},
		{"closed by nsqd", script(func(p *fake.Peer) { p.Magic() }), conn.Config{}, conn.PhaseIdentify, 0},
		{"reset by nsqd", script(func(p *fake.Peer) { p.Magic(); p.Reset() }), conn.Config{}, conn.PhaseIdentify, 0},
		{"rejected by nsqd", real(func(o *nsqd.Options) { o.MaxHeartbeatInterval = 10 * time.Second }),
			conn.Config{HeartbeatInterval: time.Minute}, conn.PhaseIdentify, 0},
		{"no TLS", real(), conn.Config{TLS: ca.ClientConfig()}, conn.PhaseIdentify, 0},
		{"no answer", script(silent(func(*fake.Peer) {})), soon, conn.PhaseIdentify, 0},
		{"no answer, cancelled", script(silent(func(*fake.Peer) {})), conn.Config{}, conn.PhaseIdentify, shortly},
		{"unknown CA", real(ca.RequireTLS), conn.Config{TLS: stranger.ClientConfig()}, conn.PhaseTLS, 0},
		{"no client certificate", real(ca.RequireClientCert), conn.Config{TLS: ca.ClientConfig()}, conn.PhaseTLS, 0},
		{"closed", script(identified(map[string]any{"tls_v1": true})), conn.Config{TLS: ca.ClientConfig()}, conn.PhaseTLS, 0},
		{"no answer", script(silent(identified(map[string]any{"tls_v1": true}))), tlsWanted, conn.PhaseTLS, 0},
		{"closed", script(identified(map[string]any{"snappy": true})), snappy, conn.PhaseCompression, 0},
		{"closed, deflate", script(identified(map[string]any{"deflate": true})), deflate, conn.PhaseCompression, 0},
		{"garbage", script(garbage), snappy, conn.PhaseCompression, 0},
		{"no answer", script(silent(identified(map[string]any{"snappy": true}))), snappy, conn.PhaseCompression, 0},
		{"no secret", real(testnsqd.StartAuth(t).Require), conn.Config{}, conn.PhaseAuth, 0},
		{"denied", real(denied), unhurried, conn.PhaseAuth, 0},
		{"no answer", script(silent(authenticated)), known, conn.PhaseAuth, 0},
		{"too many consumers", full.Addr(), conn.Config{}, conn.PhaseSubscribe, 0},
		{"TLS required", real(ca.RequireTLS), conn.Config{}, conn.PhaseSubscribe, 0},
		{"closed", script(subscribed), conn.Config{}, conn.PhaseSubscribe, 0},
		{"no answer", script(silent(subscribed)), soon, conn.PhaseSubscribe, 0},
	}
}

// occupy holds a subscription until the test ends.
func occupy(t *testing.T, addr string) {
	t.Helper()
	c, err := conn.Dial(context.Background(), addr, conn.Config{}, &conn.Subscription{Topic: topic, Channel: channel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Abort(nil) })
}

// calm waits until the numbers of files and goroutines of the process are stable, and returns them.
func calm() (files, routines int) {
	since := time.Now()
	for time.Since(since) < 100*time.Millisecond {
		if f, r := len(openFiles()), runtime.NumGoroutine(); f != files || r != routines {
			files, routines, since = f, r, time.Now()
		}
		time.Sleep(2 * time.Millisecond)
	}
	return files, routines
}

// uncollected disables the garbage collector, which would close forgotten sockets, until the test
// ends.
func uncollected(t *testing.T) {
	percent := debug.SetGCPercent(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		runtime.GC()
	})
}

// errSlow reports a handshake that timed out before its phase, as a few may on a busy machine.
var errSlow = errors.New("timed out early")

// attempt returns nil if the handshake fails as it should.
func (h *failingHandshake) attempt() error {
	ctx, cancel := context.WithCancel(context.Background())
	if h.ctx > 0 {
		ctx, cancel = context.WithTimeout(ctx, h.ctx)
	}
	defer cancel()
	c, err := conn.Dial(ctx, h.addr, h.conn, &conn.Subscription{Topic: topic, Channel: channel})
	if err == nil {
		c.Abort(nil)
		return errors.New("the handshake has succeeded")
	}
	e, ok := errors.AsType[*conn.Error](err)
	switch {
	case ok && e.Phase == h.phase && e.Addr == h.addr:
		return nil
	case h.conn.HandshakeTimeout == shortly && errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	}
	return fmt.Errorf("error is %w, want one of phase %s", err, h.phase)
}

// together returns how many of these handshakes run concurrently. The race detector reports the
// certificate cache of crypto/tls when two handshakes fill it, so handshakes that reach nsqd's
// certificate run one by one.
func (h *failingHandshake) together() int {
	if h.phase == conn.PhaseTLS && h.conn.HandshakeTimeout != shortly {
		return 1
	}
	return 100
}

// TestFailedHandshakes: 200 failures of each kind leave no file descriptor and no goroutine. Not
// parallel: it counts those of the process.
func TestFailedHandshakes(t *testing.T) {
	const n = 200
	rows := failingHandshakes(t)
	for _, h := range rows {
		_ = h.attempt() // warms up nsqd
	}
	files, routines := calm()
	for _, h := range rows {
		t.Run(fmt.Sprintf("%s/%s", h.phase, h.name), func(t *testing.T) {
			uncollected(t)
			errs := make(chan error, n)
			together := h.together()
			for range together {
				go func() {
					for range n / together {
						errs <- h.attempt()
					}
				}()
			}
			slow := 0
			for range n {
				switch err := receive(t, errs, "a handshake to fail"); err {
				case nil:
				case errSlow:
					slow++
				default:
					t.Error(err)
				}
			}
			if slow > n/2 {
				t.Errorf("%d of %d handshakes have timed out before", slow, n)
			}
			// The goroutine of this subtest is one more.
			if !settles(func() bool { return len(openFiles()) <= files && runtime.NumGoroutine() <= routines+1 }) {
				t.Errorf("%d files and %d goroutines, before it %d and %d; ours: %s",
					len(openFiles()), runtime.NumGoroutine(), files, routines+1, ours())
			}
		})
	}
}

// TestUnservedConnections: a connection that is aborted instead of served leaves nothing behind.
func TestUnservedConnections(t *testing.T) {
	for _, tt := range transports(t)[:7] { // AUTH leaves connections behind in nsqd
		t.Run(tt.name, func(t *testing.T) {
			s := testnsqd.Start(t, tt.nsqd...)
			uncollected(t)
			files := len(openFiles())
			for range 50 {
				c, err := conn.Dial(context.Background(), s.Addr(), tt.conn, &conn.Subscription{Topic: topic, Channel: channel})
				if err != nil {
					t.Fatal(err)
				}
				c.Abort(nil)
			}
			if !settles(func() bool { return len(openFiles()) <= files && len(ours()) == 0 }) {
				t.Errorf("%d files, before it %d; left behind: %s", len(openFiles()), files, ours())
			}
		})
	}
}
