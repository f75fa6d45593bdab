package e2e

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/observe"
)

// awkward is a secret that changes when it is quoted.
const awkward = canary + "\"\\\n\x00é\xff"

// shown collects everything nsqx reveals: events of all hooks, the log, bytes on the wire, and
// values a test adds. It is safe for concurrent use.
type shown struct {
	log, wire logBuffer

	mu    sync.Mutex
	texts []string
	ended int // failed connections, attempts and polls, and refused answers
}

// add formats values in every way, and errors with all they wrap.
func (s *shown) add(values ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		s.show(v)
	}
}

func (s *shown) show(v any) {
	text, _ := json.Marshal(v) // a value without JSON reveals nothing
	s.texts = append(s.texts, string(text), fmt.Sprintf("%v\n%+v\n%#v\n%s\n%q", v, v, v, v, v))
	switch e := v.(type) {
	case interface{ Unwrap() error }:
		s.show(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			s.show(err)
		}
	}
}

func (s *shown) event(ev any, err error) {
	s.add(ev, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.ended++
	}
}

func (s *shown) hooks() nsqx.Hooks {
	conn := func(ev observe.ConnEvent) { s.event(ev, ev.Err) }
	return nsqx.Hooks{
		OnConnect: conn, OnDisconnect: conn, OnDialError: conn, OnRefused: conn,
		OnLookup:  func(ev observe.LookupEvent) { s.event(ev, ev.Err) },
		OnBackoff: func(ev observe.BackoffEvent) { s.event(ev, nil) },
		OnOverdue: func(ev observe.OverdueEvent) { s.event(ev, nil) },
		OnSettle:  func(m *handler.Message) { s.add(m, m.Outcome()) },
	}
}

func (s *shown) failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *shown) options() nsqx.Option {
	all := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	logger := slog.New(slog.NewMultiHandler(slog.NewTextHandler(&s.log, all), slog.NewJSONHandler(&s.log, all)))
	return nsqx.WithOptions(nsqx.WithHooks(s.hooks()), nsqx.WithLogger(logger))
}

// tap returns the address of a proxy that records the bytes to and from addr.
func (s *shown) tap(t *testing.T, addr string) string {
	p := testnsqd.StartProxy(t, addr)
	p.Tap(func(_ testnsqd.Direction, b []byte) []byte {
		_, _ = s.wire.Write(b) // cannot fail
		return b
	})
	return p.Addr()
}

// finds returns the places with the first half of a secret, in any of its forms.
func (s *shown) finds(secret string) (found []string) {
	begin := secret[:12]
	raw := []byte(begin)
	forms := []string{begin, hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw),
		strings.Trim(fmt.Sprint(raw), "[]"), strings.Trim(fmt.Sprintf("%#v", raw), "[]byte{}")}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range append(s.texts, s.log.String(), s.wire.String()) {
		for _, f := range forms {
			if i := strings.Index(text, f); i >= 0 {
				found = append(found, text[max(0, i-100):min(len(text), i+100)])
			}
		}
	}
	return found
}

func (s *shown) check(t *testing.T, secret string) {
	t.Helper()
	for _, text := range s.finds(secret) {
		t.Errorf("the secret is in %q", text)
	}
}

// TestSecretWouldBeSeen proves that the search finds a secret.
func TestSecretWouldBeSeen(t *testing.T) {
	t.Parallel()
	for name, leak := range map[string]func(s *shown){
		"error": func(s *shown) { s.add(fmt.Errorf("a: %w", errors.Join(errFailed, fmt.Errorf("b: %s", awkward)))) },
		"field": func(s *shown) {
			s.add(struct{ a any }{&observe.ConnEvent{NSQD: canary}}, observe.ConnEvent{NSQD: awkward})
		},
		"pointer":        func(s *shown) { s.hooks().OnDialError(observe.ConnEvent{Err: &conn.Error{Err: errors.New(canary)}}) },
		"bytes":          func(s *shown) { s.add([]byte(canary)) },
		"field of bytes": func(s *shown) { s.add(struct{ a []byte }{[]byte(canary)}) },
		"log":            func(s *shown) { fmt.Fprintf(&s.log, "x=%q", awkward) },
		"wire":           func(s *shown) { fmt.Fprint(&s.wire, canary) },
		"half":           func(s *shown) { s.add(canary[:12]) },
	} {
		var s shown
		leak(&s)
		if len(s.finds(canary)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// sayings are answers of nsqd that quote the secret, to AUTH or later.
func sayings(secret string) map[string]func(p *fake.Peer) {
	quoted := fmt.Sprintf("%q", secret)
	subscribed := func(then func(p *fake.Peer)) func(p *fake.Peer) {
		return func(p *fake.Peer) {
			p.Response("{}")
			p.Expect("SUB")
			then(p)
		}
	}
	return map[string]func(p *fake.Peer){
		"AUTH: error":        func(p *fake.Peer) { p.Error("E_AUTH_FAILED no " + secret) },
		"AUTH: quoted":       func(p *fake.Peer) { p.Error("E_AUTH_FAILED no " + quoted) },
		"AUTH: code":         func(p *fake.Peer) { p.Error(secret) },
		"AUTH: at the cut":   func(p *fake.Peer) { p.Error("E_AUTH_FAILED " + strings.Repeat("x", 240) + secret) },
		"AUTH: answer":       func(p *fake.Peer) { p.Response(secret) },
		"AUTH: cut answer":   func(p *fake.Peer) { p.Response(strings.Repeat("x", 50) + secret) },
		"AUTH: quoted, JSON": func(p *fake.Peer) { p.Response(`{"permission_count":` + quoted + `}`) },
		"AUTH: not a frame":  func(p *fake.Peer) { p.Raw([]byte(secret)) },
		"AUTH: silence":      func(p *fake.Peer) {},
		"SUB: error":         subscribed(func(p *fake.Peer) { p.Error("E_UNAUTHORIZED " + secret) }),
		"SUB: quoted":        subscribed(func(p *fake.Peer) { p.Error("E_UNAUTHORIZED " + quoted) }),
		"SUB: answer":        subscribed(func(p *fake.Peer) { p.Response(secret) }),
		"stream: error": subscribed(func(p *fake.Peer) {
			p.Response("OK")
			p.Error("E_AUTH_FAILED " + secret + quoted)
		}),
		"stream: not fatal": subscribed(func(p *fake.Peer) {
			p.Response("OK")
			p.Error("E_FIN_FAILED " + secret + quoted)
			_, _ = p.Next() // RDY
		}),
		"stream: response": subscribed(func(p *fake.Peer) {
			p.Response("OK")
			p.Response(secret)
		}),
	}
}

// first runs a script for the first connection and closes all later ones, in which a test might
// end.
func first(script func(p *fake.Peer)) func(p *fake.Peer) {
	return func(p *fake.Peer) {
		if p.N == 1 {
			script(p)
		}
	}
}

// TestSecretOfAUTH: nsqd quotes the secret wherever it can. The secret is in no log record, error,
// event or statistic, and on the wire only inside TLS. (I12)
func TestSecretOfAUTH(t *testing.T) {
	t.Parallel()
	ca := testnsqd.NewAuthority(t)
	server := ca.ClientConfig(ca.Server)
	for _, secret := range []string{canary, awkward} {
		for name, say := range sayings(secret) {
			t.Run(fmt.Sprintf("%d bytes/%s", len(secret), name), func(t *testing.T) {
				t.Parallel()
				var s shown
				addr := s.tap(t, fake.Listen(t, first(func(p *fake.Peer) {
					p.Identify(map[string]any{"tls_v1": true, "auth_required": true})
					if p.UpgradeTLS(server) != nil {
						return // the test has ended
					}
					if cmd, err := p.Next(); err != nil || string(cmd.Body) != secret {
						return
					}
					say(p)
				})))
				cfg := conn.Config{TLS: ca.ClientConfig(ca.Client), AuthSecret: func(context.Context) (string, error) { return secret, nil }, RequireAuth: true}
				c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithNSQD(addr), nsqx.WithConn(cfg), s.options())
				r := start(t, c)
				eventually(t, func() bool { return s.failures() > 0 }, "something to fail")
				st := c.Stats()
				s.add(cfg, &cfg, c, st, st.Connections[0].LastErr, c.Healthy(), r.stop())
				s.check(t, secret)
				s.checkKey(t, ca.Client)
			})
		}
	}
}

// checkKey fails the test if the private key of pair was revealed.
func (s *shown) checkKey(t *testing.T, pair testnsqd.Pair) {
	t.Helper()
	key, err := pair.Cert.PrivateKey.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	s.check(t, string(key))
	s.check(t, new(big.Int).SetBytes(key).String())
}

// TestSecretThatIsNotSent: if AuthSecret fails or returns an invalid secret, the value is not
// revealed either.
func TestSecretThatIsNotSent(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]conn.Config{
		"with an error": {AllowPlaintextAuth: true, AuthSecret: func(context.Context) (string, error) { return canary, errFailed }},
		"too long":      {AllowPlaintextAuth: true, AuthSecret: func(context.Context) (string, error) { return strings.Repeat(canary, 4000), nil }},
		"clear text":    {AuthSecret: secret},
		"no TLS":        {AuthSecret: secret, AllowPlaintextAuth: true, TLS: testnsqd.NewAuthority(t).ClientConfig()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s shown
			addr := s.tap(t, fake.Listen(t, first(silent(func(p *fake.Peer) { p.Identify(map[string]any{"auth_required": true}) }))))
			c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithNSQD(addr), nsqx.WithConn(cfg), s.options())
			r := start(t, c)
			eventually(t, func() bool { return s.failures() > 0 }, "the handshake to fail")
			s.add(cfg, c, c.Stats(), c.Healthy(), r.stop())
			s.check(t, canary)
		})
	}
}

// TestSecretOfAPublisher: a publisher keeps the secret, too, when it succeeds and when nsqd quotes
// the secret in a refusal.
func TestSecretOfAPublisher(t *testing.T) {
	t.Parallel()
	ca := testnsqd.NewAuthority(t)
	for name, say := range map[string]func(p *fake.Peer){
		"success": func(p *fake.Peer) { p.Response("OK") },
		"refused": func(p *fake.Peer) { p.Error("E_UNAUTHORIZED " + awkward + fmt.Sprintf("%q", awkward)) },
		"garbage": func(p *fake.Peer) { p.Response(awkward) },
		"lost":    func(p *fake.Peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s shown
			addr := s.tap(t, fake.Listen(t, first(func(p *fake.Peer) {
				p.Identify(map[string]any{"tls_v1": true, "auth_required": true})
				if p.UpgradeTLS(ca.ClientConfig(ca.Server)) != nil {
					return
				}
				p.Expect("AUTH")
				p.Response("{}")
				if _, err := p.Next(); err == nil {
					say(p)
				}
			})))
			pub, err := nsqx.NewProducer("orders", codec.String(), nsqx.WithNSQD(addr), s.options(), nsqx.WithConn(conn.Config{
				TLS: ca.ClientConfig(), AuthSecret: func(context.Context) (string, error) { return awkward, nil },
			}))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
			defer cancel()
			err = pub.Publish(ctx, "m")
			if (err == nil) != (name == "success") {
				t.Errorf("Publish: %v", err)
			}
			s.add(pub, err, pub.Stats(), pub.Shutdown(ctx))
			s.check(t, awkward)
		})
	}
}

// TestSecretOfLookupd: nsqlookupd, or a server in its place, quotes the Authorization wherever it
// can.
func TestSecretOfLookupd(t *testing.T) {
	t.Parallel()
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			nc, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			_, _ = io.WriteString(nc, answer)
		}
	}
	const authorization = "Bearer " + canary
	for name, answer := range map[string]http.HandlerFunc{
		"401":           saying(http.StatusUnauthorized, "who is "+authorization),
		"message":       saying(http.StatusInternalServerError, fmt.Sprintf(`{"message":%q}`, canary)),
		"JSON":          saying(http.StatusOK, `{"producers":`+canary),
		"not HTTP":      raw(canary + "\r\n\r\n"),
		"status line":   raw("HTTP/1.1 200" + authorization + "\r\n\r\n"),
		"header":        raw("HTTP/1.1 200 OK\r\n" + authorization + "\r\n\r\n"),
		"length":        raw("HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n"),
		"encoding":      raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n"),
		"redirect":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/"+canary, http.StatusFound) },
		"no producers":  saying(http.StatusOK, `{"producers":[]}`),
		"bad addresses": saying(http.StatusOK, fmt.Sprintf(`{"producers":[{"broadcast_address":%q,"tcp_port":0}]}`, canary)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := new(shown), httptest.NewServer(answer)
			t.Cleanup(l.Close)
			client := nsqx.LookupdClient{Authorization: func(context.Context) (string, error) { return authorization, nil }}
			c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithLookupd(l.URL), nsqx.WithLookupdClient(client), soon, s.options())
			r := start(t, c)
			polled(t, c, 2)
			st := c.Stats()
			s.add(client, c, st, st.Lookups[0].LastErr, c.Healthy(), r.stop())
			s.check(t, canary)
		})
	}
	for name, authorization := range map[string]func(context.Context) (string, error){
		"with an error": func(context.Context) (string, error) { return canary, errFailed },
		"not a header":  func(context.Context) (string, error) { return awkward, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := new(shown), httptest.NewServer(saying(http.StatusOK, `{"producers":[]}`))
			t.Cleanup(l.Close)
			c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithLookupd(s.tap(t, strings.TrimPrefix(l.URL, "http://"))),
				nsqx.WithLookupdClient(nsqx.LookupdClient{Authorization: authorization}), soon, s.options())
			r := start(t, c)
			eventually(t, func() bool { return s.failures() > 0 }, "a poll to fail")
			s.add(c, c.Stats(), c.Healthy(), r.stop())
			s.check(t, canary)
		})
	}
}

// TestSecretInAnAddress: an address with credentials is refused, and the error does not repeat
// them.
func TestSecretInAnAddress(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"http://user:" + canary + "@127.0.0.1:4161", "http://" + canary + "@127.0.0.1:4161", "http://127.0.0.1:4161?key=" + canary, "user:" + canary + "@127.0.0.1:4161"} {
		var s shown
		_, err := nsqx.NewConsumer(topic, channel, codec.String(), func(context.Context, string) error { return nil }, nsqx.WithLookupd(addr))
		if err == nil {
			t.Errorf("%s is accepted", addr)
		}
		s.add(err)
		s.check(t, canary)
	}
}

// TestSecretOfARealNSQD: a session over TLS, with a client certificate and AUTH, through a restart
// and a drain.
func TestSecretOfARealNSQD(t *testing.T) {
	t.Parallel()
	ca, auth := testnsqd.NewAuthority(t), testnsqd.StartAuth(t)
	nsqd := testnsqd.Start(t, ca.RequireClientCert, auth.Require)
	s, dials := new(shown), make(chan struct{}, 100)
	addr := s.tap(t, nsqd.Addr())
	var dialer net.Dialer
	cfg := conn.Config{TLS: ca.ClientConfig(ca.Client), AuthSecret: secret, RequireAuth: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials <- struct{}{}
			return dialer.DialContext(ctx, network, addr)
		}}
	book := newLedger()
	c := newConsumer(t, handles(book), nsqx.WithNSQD(addr), nsqx.WithConn(cfg), s.options())
	publish(t, nsqd, topic, []byte("1"))
	r := start(t, c)
	finished(t, nsqd, c, 1)
	s.add(c.Stats())
	auth.SetMode(testnsqd.AuthForbidden)
	nsqd.Restart()
	eventually(t, func() bool { return s.failures() > 1 }, "the connection and a dial to fail")
	s.add(cfg, c, c.Stats(), c.Healthy(), r.stop())
	s.check(t, canary)
	s.checkKey(t, ca.Client)
	if len(dials) < 2 || len(auth.Secrets()) < 2 {
		t.Errorf("%d dials, %d secrets", len(dials), len(auth.Secrets()))
	}
}
