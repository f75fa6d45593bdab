package conn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/pipe"
)

// Tests of the AUTH phase of handshake.go.

const canary = "canary-5ec7e7-0123456789"

// TestAuthRefusals checks that the handshake fails before anything but IDENTIFY is sent.
func TestAuthRefusals(t *testing.T) {
	asks, asksNot := `{"auth_required":true}`, `{"auth_required":false}`
	asked := func(context.Context) (string, error) {
		t.Error("the secret was asked for")
		return canary, nil
	}
	down := errors.New("vault is down")
	tests := map[string]struct {
		cfg       conn.Config
		answer    string
		phase     conn.Phase
		permanent bool
		want      string
	}{
		"A1: no secret":     {conn.Config{}, asks, conn.PhaseAuth, true, conn.ErrAuthRequired.Error()},
		"A6: clear text":    {conn.Config{AuthSecret: asked}, asks, conn.PhaseAuth, true, conn.ErrPlaintextAuth.Error()},
		"A6: does not ask":  {conn.Config{AuthSecret: asked, RequireAuth: true}, asksNot, conn.PhaseIdentify, true, conn.ErrAuthNotRequired.Error()},
		"does not ask, OK":  {conn.Config{AuthSecret: asked, RequireAuth: true}, "OK", conn.PhaseIdentify, true, conn.ErrAuthNotRequired.Error()},
		"T1: TLS stripped":  {conn.Config{AuthSecret: asked, AllowPlaintextAuth: true, TLS: newAuthority(t).client()}, asks, conn.PhaseIdentify, true, conn.ErrNoTLS.Error()},
		"empty secret":      {conn.Config{AuthSecret: secret(""), AllowPlaintextAuth: true}, asks, conn.PhaseAuth, true, "returned 0 bytes: allowed is 1 to 65536"},
		"65537 bytes":       {conn.Config{AuthSecret: secret(strings.Repeat("x", 65537)), AllowPlaintextAuth: true}, asks, conn.PhaseAuth, true, "returned 65537 bytes"},
		"AuthSecret failed": {conn.Config{AuthSecret: func(context.Context) (string, error) { return canary, down }, AllowPlaintextAuth: true}, asks, conn.PhaseAuth, false, down.Error()},
	}
	for name, tt := range tests {
		bubbles(t, name, func(t *testing.T) {
			var sent []fake.Command
			_, err := shake(t, t.Context(), tt.cfg, orders, func(p *fake.Peer) {
				answering(tt.answer)(p)
				_, _ = p.Next()
				sent = p.Log
			})
			wantError(t, err, tt.phase, tt.permanent)
			if !strings.Contains(err.Error(), strings.TrimPrefix(tt.want, "nsqx: ")) || strings.Contains(err.Error(), canary) {
				t.Errorf("error is %v", err)
			}
			synctest.Wait()
			if len(sent) != 1 {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

func TestAuth(t *testing.T) {
	bubbles(t, "a fresh secret for each connection", func(t *testing.T) {
		var n atomic.Int32
		cfg := conn.Config{AllowPlaintextAuth: true, AuthSecret: func(context.Context) (string, error) {
			return fmt.Sprint("secret ", n.Add(1)), nil
		}}
		for i := 1; i <= 2; i++ {
			_, err := shake(t, t.Context(), cfg, orders, func(p *fake.Peer) {
				p.Identify(map[string]any{"auth_required": true})
				if got, want := string(p.Expect("AUTH").Body), fmt.Sprint("secret ", i); got != want {
					t.Errorf("AUTH %q, want %q", got, want)
				}
				p.Response(`{"identity":"me","identity_url":"","permission_count":1}`)
				p.Expect("SUB")
				p.Response("OK")
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	bubbles(t, "not asked for, not sent", func(t *testing.T) {
		cfg := conn.Config{AuthSecret: secret(canary), AllowPlaintextAuth: true}
		if _, err := shake(t, t.Context(), cfg, orders, func(p *fake.Peer) { p.Subscribe(nil) }); err != nil {
			t.Error(err)
		}
	})
	// Secrets that look like protocol data.
	for _, s := range []string{"OK", "1", "{", "_heartbeat_", strings.Repeat("x", 64<<10)} {
		bubbles(t, "secret "+label(s), func(t *testing.T) {
			cfg := conn.Config{AuthSecret: secret(s), AllowPlaintextAuth: true}
			_, err := shake(t, t.Context(), cfg, orders, func(p *fake.Peer) {
				upTo(conn.PhaseSubscribe, p)
				p.Response("OK")
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAuthAnswer(t *testing.T) {
	tests := map[string]struct{ field, value string }{
		`{"permission_count":1}`:         {},
		`{}`:                             {},
		`{"permission_count":null}`:      {},
		`{"new":[1],"identity":{}}`:      {},
		`{"permission_count":-1}`:        {"permission_count", "-1"},
		`{"permission_count":"1"}`:       {"permission_count", "string"},
		`{"permission_count":1e99}`:      {"permission_count", "number 1e99"},
		"":                               {"", ""},
		"OK":                             {"", "OK"},
		"{":                              {"", "{"},
		"null":                           {"", "null"},
		"[]":                             {"", "[]"},
		"no " + canary + " no":           {"", "no [secret] no"},
		strings.Repeat("x", 50) + canary: {"", strings.Repeat("x", 50) + "[secret]"},
	}
	for answer, want := range tests {
		bubbles(t, label(answer), func(t *testing.T) {
			cfg := conn.Config{AuthSecret: secret(canary), AllowPlaintextAuth: true}
			_, err := shake(t, t.Context(), cfg, nil, func(p *fake.Peer) {
				upTo(conn.PhaseAuth, p)
				p.Response(answer)
			})
			if want.field == "" && strings.HasPrefix(answer, "{") && answer != "{" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wrong, ok := errors.AsType[*conn.AnswerError](wantError(t, err, conn.PhaseAuth, true))
			if !ok || wrong.Command != "AUTH" || wrong.Field != want.field || wrong.Value != want.value {
				t.Errorf("error is %v, want field %q, value %q", err, want.field, want.value)
			}
		})
	}
	bubbles(t, "no permissions", func(t *testing.T) {
		cfg := conn.Config{AuthSecret: secret(canary), AllowPlaintextAuth: true}
		_, err := shake(t, t.Context(), cfg, orders, func(p *fake.Peer) {
			upTo(conn.PhaseAuth, p)
			p.Response(`{"identity":"","permission_count":0}`)
		})
		if failure := wantError(t, err, conn.PhaseAuth, true); !errors.Is(failure, conn.ErrNoPermissions) {
			t.Errorf("error is %v", err)
		}
	})
}

// TestSecretStaysSecret lets nsqd quote the secret everywhere, and taps TLS.
func TestSecretStaysSecret(t *testing.T) {
	a := newAuthority(t)
	server := a.server()
	ends := map[string]func(p *fake.Peer){
		"AUTH error": func(p *fake.Peer) { p.Error("E_AUTH_FAILED no " + canary) },
		"code":       func(p *fake.Peer) { p.Error(canary) },
		"cut":        func(p *fake.Peer) { p.Error("E_AUTH_FAILED " + strings.Repeat("x", 250) + canary) },
		"answer":     func(p *fake.Peer) { p.Response(canary) },
		"SUB error": func(p *fake.Peer) {
			p.Response("{}")
			p.Expect("SUB")
			p.Error("E_UNAUTHORIZED " + canary)
		},
		"SUB answer": func(p *fake.Peer) {
			p.Response("{}")
			p.Expect("SUB")
			p.Response(strings.Repeat("x", 50) + canary)
		},
	}
	for name, end := range ends {
		bubbles(t, name, func(t *testing.T) {
			cfg := conn.Config{TLS: a.client(), AuthSecret: secret(canary)}
			var tapped *tap
			_, err := shake(t, t.Context(), cfg, orders, func(p *fake.Peer) {
				tapped = &tap{Conn: p.Pipe}
				p = fake.NewPeer(t, tapped)
				p.Identify(map[string]any{"tls_v1": true, "auth_required": true})
				if err := p.UpgradeTLS(server); err != nil {
					t.Error(err)
				}
				if got := string(p.Expect("AUTH").Body); got != canary {
					t.Errorf("AUTH %q", got)
				}
				end(p)
				_, _ = p.Next()
			})
			failure, ok := errors.AsType[*conn.Error](err)
			if !ok {
				t.Fatalf("error is %v", err)
			}
			for _, s := range []string{err.Error(), fmt.Sprintf("%+v", failure), fmt.Sprintf("%#v", failure.Err)} {
				if strings.Contains(s, canary[:8]) {
					t.Errorf("the error shows the secret: %s", s)
				}
			}
			synctest.Wait()
			if strings.Contains(tapped.seen.String(), canary[:8]) || !strings.HasPrefix(tapped.seen.String(), "  V2IDENTIFY\n") {
				t.Error("the secret was sent below TLS")
			}
		})
	}
	bubbles(t, "later errors", func(t *testing.T) {
		cfg := conn.Config{AllowPlaintextAuth: true, AuthSecret: secret(canary)}
		hs, err := shake(t, t.Context(), cfg, nil, func(p *fake.Peer) {
			upTo(conn.PhaseAuth, p)
			p.Response("{}")
		})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("x", 250) + canary
		if got := hs.ParseError([]byte("E_AUTH_FAILED " + text)).Error(); strings.Contains(got, canary[:4]) {
			t.Errorf("error is %s", got)
		}
	})
}

// tap records what the client sends, below TLS.
type tap struct {
	*pipe.Conn
	seen strings.Builder
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.seen.Write(b[:n])
	return n, err
}
