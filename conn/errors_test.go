package conn_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/wire"
)

// Tests of errors.go.

// TestErrorAnswers (M26) answers each command with an error frame.
func TestErrorAnswers(t *testing.T) {
	tests := []struct {
		phase     conn.Phase
		text      string
		permanent bool
	}{
		{conn.PhaseIdentify, "E_BAD_BODY IDENTIFY msg timeout (5) is invalid", true},
		{conn.PhaseIdentify, "E_IDENTIFY_FAILED cannot enable both", true},
		{conn.PhaseIdentify, "E_BAD_PROTOCOL", true},
		{conn.PhaseIdentify, "E_XYZ", false},
		{conn.PhaseIdentify, "", false},
		{conn.PhaseAuth, "E_AUTH_FAILED AUTH failed", true},
		{conn.PhaseAuth, "E_UNAUTHORIZED AUTH no authorizations found", true},
		{conn.PhaseAuth, "E_AUTH_DISABLED AUTH disabled", true},
		{conn.PhaseSubscribe, "E_UNAUTHORIZED AUTH failed for SUB", true},
		{conn.PhaseSubscribe, "E_BAD_TOPIC SUB topic name", true},
		{conn.PhaseSubscribe, "E_BAD_CHANNEL SUB channel name", true},
		{conn.PhaseSubscribe, "E_INVALID cannot SUB with heartbeats disabled", true},
		{conn.PhaseSubscribe, "E_AUTH_FIRST AUTH required before SUB", true},
		{conn.PhaseSubscribe, "E_SUB_FAILED too many channel consumers", false},
		{conn.PhaseSubscribe, "E_SUB_FAILED " + strings.Repeat("x\n", 9000), false},
	}
	for _, tt := range tests {
		bubbles(t, fmt.Sprintf("%s %.20s", tt.phase, tt.text), func(t *testing.T) {
			cfg := conn.Config{AuthSecret: secret("sesame"), AllowPlaintextAuth: true}
			_, err := shake(t, t.Context(), cfg, orders, func(p *fake.Peer) {
				if !upTo(tt.phase, p) {
					return
				}
				p.Error(tt.text)
			})
			failure := wantError(t, err, tt.phase, tt.permanent)
			code, text, _ := strings.Cut(tt.text, " ")
			said, ok := errors.AsType[*wire.ProtocolError](failure)
			if !ok || said.Code != code || said.Text != text[:min(len(text), 256)] {
				t.Errorf("error is %v", err)
			}
			if strings.Count(err.Error(), "nsqx: ") != 1 || strings.Contains(err.Error(), "\n") {
				t.Errorf("text is %q", err)
			}
		})
	}
}

func TestNonFatalErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		texts := []string{"E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight", "E_REQ_FAILED REQ failed", "E_TOUCH_FAILED"}
		for _, text := range texts {
			s.p.Error(text)
		}
		s.alive()
		refused := s.sink.refused()
		if len(refused) != len(texts) || s.Stats().Refused != 3 {
			t.Fatalf("%d errors were reported, %d counted", len(refused), s.Stats().Refused)
		}
		for i, err := range refused {
			e, ok := err.(*conn.ServerError)
			code, text, _ := strings.Cut(texts[i], " ")
			if !ok || e.Code != code || e.Text != text {
				t.Errorf("error is %#v, want %q", err, texts[i])
			}
		}
	})
}

func TestFatalErrors(t *testing.T) {
	for _, text := range []string{
		"E_INVALID", "E_INVALID cannot RDY 5000", "E_BAD_TOPIC", "E_BAD_CHANNEL", "E_BAD_BODY", "E_BAD_MESSAGE", "E_PUB_FAILED",
		"E_MPUB_FAILED", "E_DPUB_FAILED", "E_SUB_FAILED", "E_AUTH_FAILED", "E_AUTH_ERROR", "E_AUTH_FIRST", "E_AUTH_DISABLED",
		"E_UNAUTHORIZED", "E_IDENTIFY_FAILED", "E_XYZ", "E_FIN_FAILED_NOT", "e_fin_failed", "E_FIN_FAILED\tx", "", " ", "\x00\xff\n",
	} {
		bubbles(t, text, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			s.p.Error(text)
			failure := s.failed(conn.PhaseStream, 0)
			e, ok := errors.AsType[*conn.ServerError](failure)
			if !ok || !e.Fatal() || strings.HasPrefix(text, "E_") && !strings.Contains(text, "\t") && e.Code != strings.Fields(text)[0] {
				t.Errorf("error is %#v", failure.Err)
			}
			if strings.ContainsFunc(failure.Error(), func(r rune) bool { return r < ' ' || r == '\ufffd' }) {
				t.Errorf("the error shows raw bytes: %q", failure.Error())
			}
			if len(s.sink.refused()) != 0 {
				t.Error("it was reported as refused")
			}
		})
	}
}

// TestSecretInErrors checks that the secret is redacted wherever nsqd quotes it, also where the
// text is cut.
func TestSecretInErrors(t *testing.T) {
	const word = "sesame-0123456789-open"
	frames := func(text string) map[string][]byte {
		return map[string][]byte{
			"fatal":   fake.Frame(fake.FrameError, []byte("E_AUTH_FAILED "+text)),
			"refused": fake.Frame(fake.FrameError, []byte("E_FIN_FAILED "+text)),
			"unasked": fake.Frame(fake.FrameResponse, []byte(text)),
		}
	}
	for before := range 300 {
		if before > 3 && before < 40 || before > 70 && before < 225 {
			continue
		}
		for name, raw := range frames(strings.Repeat("-", before) + word + word) {
			bubbles(t, fmt.Sprint(name, " at ", before), func(t *testing.T) {
				s := openStream(t, streamOptions{
					publish:  name == "unasked",
					cfg:      conn.Config{AuthSecret: secret(word), AllowPlaintextAuth: true},
					identify: map[string]any{"auth_required": true},
					upgrade: func(p *fake.Peer) {
						p.Expect("AUTH")
						p.Response(`{"permission_count":1}`)
					},
				})
				s.p.Raw(raw)
				synctest.Wait()
				s.p.Close()
				said := append(s.sink.refused(), s.wait())
				for _, err := range said {
					text := err.Error()
					if e, ok := errors.AsType[*conn.ServerError](err); ok {
						text += e.Text
						if len(e.Text) > 256 {
							t.Errorf("%d bytes of text", len(e.Text))
						}
					}
					if strings.Contains(text, word[:6]) {
						t.Errorf("the secret, or some of it, is in %q", text)
					}
				}
			})
		}
	}
}

// TestErrorIsOneLine: what a peer or a dialer says is printed safely, and bounded.
func TestErrorIsOneLine(t *testing.T) {
	for said, want := range map[string]string{
		"plain":                             "plain",
		"nsqx: ours":                        "ours",
		"first\nsecond":                     "first; second",
		"\x1b[2J\r\t\x00\u202e level=ERROR": "\ufffd[2J\ufffd\ufffd\ufffd\ufffd level=ERROR",
		"\xff\xfe é 日":                      "\ufffd\ufffd é 日",
		strings.Repeat("x", 5000):           strings.Repeat("x", 1024) + "…",
	} {
		err := &conn.Error{Addr: "a:1", Phase: conn.PhaseTLS, Err: errors.New(said)}
		if got := err.Error(); got != "nsqx: nsqd a:1: tls: "+want {
			t.Errorf("%.60q is printed as %.100q, want the end %.60q", said, got, want)
		}
	}
}
