package conn_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/pipe"
)

// Tests of user code on a connection: callbacks of TLS, and a net.Conn.

// faulty are the ways in which user code may fail, with the error that comes of it.
var faulty = map[string]struct {
	do   func()
	want error
}{
	"panics": {func() { panic(errReason) }, errReason},
	"exits":  {runtime.Goexit, guard.ErrGoexit},
}

// wantPanicError checks an *Error made of a panic: with a stack, once.
func wantPanicError(t *testing.T, err error, phase conn.Phase, value error) {
	t.Helper()
	failure, ok := err.(*conn.Error)
	p, panicked := errors.AsType[*handler.PanicError](err)
	if !ok || !panicked || failure.Phase != phase || !errors.Is(err, value) || len(p.Stack) == 0 {
		t.Errorf("error is %T %v, want a panic (%v) in the phase %s", err, err, value, phase)
	}
	if ok && strings.Contains(err.Error(), "goroutine ") {
		t.Errorf("the text has a stack: %v", err)
	}
}

// sessions is a ClientSessionCache.
type sessions struct{ get, put func() }

func (s sessions) Get(string) (*tls.ClientSessionState, bool) {
	s.get()
	return nil, false
}

func (s sessions) Put(string, *tls.ClientSessionState) { s.put() }

type keyLog func()

func (f keyLog) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// TestTLSCallbacks: a callback of TLS that panics or calls Goexit fails the handshake, with its phase,
// and closes the socket.
func TestTLSCallbacks(t *testing.T) {
	a := newAuthority(t)
	nothing := func() {}
	for name, set := range map[string]func(cfg *tls.Config, do func()){
		"VerifyPeerCertificate": func(cfg *tls.Config, do func()) {
			cfg.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { do(); return nil }
		},
		"VerifyConnection": func(cfg *tls.Config, do func()) {
			cfg.VerifyConnection = func(tls.ConnectionState) error { do(); return nil }
		},
		"GetClientCertificate": func(cfg *tls.Config, do func()) {
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { do(); return new(tls.Certificate), nil }
		},
		"ClientSessionCache": func(cfg *tls.Config, do func()) { cfg.ClientSessionCache = sessions{do, nothing} },
		"KeyLogWriter":       func(cfg *tls.Config, do func()) { cfg.KeyLogWriter = keyLog(do) },
		"Time":               func(cfg *tls.Config, do func()) { cfg.Time = func() time.Time { do(); return time.Now() } },
	} {
		for how, fault := range faulty {
			bubbles(t, name+" "+how, func(t *testing.T) {
				cfg, server := a.client(), a.server()
				server.ClientAuth = tls.RequestClientCert
				set(cfg, fault.do)
				_, err := shake(t, t.Context(), conn.Config{TLS: cfg}, orders, func(p *fake.Peer) {
					p.Identify(map[string]any{"tls_v1": true})
					if err := p.UpgradeTLS(server); err == nil {
						_, _ = p.Next()
					}
				})
				wantPanicError(t, err, conn.PhaseTLS, fault.want)
			})
		}
	}
}

// TestTLSCallbackInRead: TLS 1.3 calls the session cache when a ticket comes, after the handshake.
func TestTLSCallbackInRead(t *testing.T) {
	a := newAuthority(t)
	for how, fault := range faulty {
		bubbles(t, how, func(t *testing.T) {
			cfg := a.client()
			cfg.ClientSessionCache = sessions{func() {}, fault.do}
			_, err := shake(t, t.Context(), conn.Config{TLS: cfg}, orders, func(p *fake.Peer) {
				p.Identify(map[string]any{"tls_v1": true})
				_ = p.UpgradeTLS(a.server())
				_, _ = p.Next()
			})
			wantPanicError(t, err, conn.PhaseTLS, fault.want)
		})
	}
}

// faultyConn fails in one method, once armed.
type faultyConn struct {
	net.Conn
	method string
	do     func()
	closed chan struct{}
}

func (c *faultyConn) fail(method string) {
	if method == c.method {
		c.do()
	}
}

func (c *faultyConn) Close() error {
	_ = c.Conn.Close()
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	c.fail("Close")
	return nil
}

func (c *faultyConn) Read(b []byte) (int, error)  { c.fail("Read"); return c.Conn.Read(b) }
func (c *faultyConn) Write(b []byte) (int, error) { c.fail("Write"); return c.Conn.Write(b) }
func (c *faultyConn) SetReadDeadline(t time.Time) error {
	c.fail("SetReadDeadline")
	return c.Conn.SetReadDeadline(t)
}
func (c *faultyConn) SetWriteDeadline(t time.Time) error {
	c.fail("SetWriteDeadline")
	return c.Conn.SetWriteDeadline(t)
}

// TestFaultyConnHandshake: a net.Conn that fails fails the handshake. Its Close may fail in a goroutine
// of crypto/tls, when the handshake takes too long.
func TestFaultyConnHandshake(t *testing.T) {
	a := newAuthority(t)
	for how, fault := range faulty {
		for _, method := range []string{"Read", "Write", "Close"} {
			for _, secure := range []bool{false, true} {
				name := method + " " + how
				if secure {
					name += ", over TLS"
				}
				bubbles(t, name, func(t *testing.T) {
					client, peer := pipe.New()
					c := &faultyConn{Conn: client, method: method, do: fault.do, closed: make(chan struct{})}
					p := fake.NewPeer(t, peer)
					go func() { // never answers beyond IDENTIFY
						if secure && method == "Close" {
							p.Identify(map[string]any{"tls_v1": true})
						}
						_, _ = p.Next()
					}()
					cfg := conn.Config{DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
					if secure {
						cfg.TLS = a.client()
					}
					_, err := conn.Dial(t.Context(), address, cfg, orders)
					switch failure, ok := err.(*conn.Error); {
					case method != "Close":
						wantPanicError(t, err, conn.PhaseIdentify, fault.want)
					case !ok:
						t.Errorf("error is %v", err)
					case secure && failure.Phase != conn.PhaseTLS:
						t.Errorf("error is %v", err)
					}
					<-c.closed
					p.Close()
				})
			}
		}
	}
}

// TestFaultyConn: a net.Conn that fails ends the connection with an error, whichever method it is, and
// Serve returns.
func TestFaultyConn(t *testing.T) {
	a := newAuthority(t)
	for how, fault := range faulty {
		for _, method := range []string{"Read", "Write", "SetReadDeadline", "SetWriteDeadline", "Close"} {
			for _, secure := range []bool{false, true} {
				name := method + " " + how
				if secure {
					name += ", over TLS"
				}
				bubbles(t, name, func(t *testing.T) {
					client, peer := pipe.New()
					c := &faultyConn{Conn: client, do: fault.do, closed: make(chan struct{})}
					p := fake.NewPeer(t, peer)
					shaken := make(chan struct{})
					go func() {
						defer close(shaken)
						p.Identify(map[string]any{"tls_v1": secure})
						if secure {
							_ = p.UpgradeTLS(a.server())
						}
						p.Expect("SUB")
						p.Response("OK")
					}()
					cfg := conn.Config{DialContext: dialling(c)}
					if secure {
						cfg.TLS = a.client()
					}
					x, err := conn.Dial(t.Context(), address, cfg, orders)
					<-shaken
					if err != nil {
						t.Fatal(err)
					}
					c.method = method
					ended := make(chan error, 1)
					go func() {
						returned := false
						defer func() { // also after Goexit
							if !returned {
								ended <- x.Err()
							}
						}()
						err := x.Serve(new(streamSink))
						returned = true
						ended <- err
					}()
					p.Heartbeat()
					if method == "Close" {
						time.Sleep(time.Second)
						x.Abort(errReason)
						wantIs(t, <-ended, errReason)
					} else {
						wantPanicError(t, <-ended, conn.PhaseStream, fault.want)
					}
					<-c.closed
					<-x.Done()
					p.Close()
				})
			}
		}
	}
}
