package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/wire"
)

// errHandshakeTimeout distinguishes the timeout from the end of the caller's context.
var errHandshakeTimeout = errors.New("handshake timeout")

const (
	maxSecret = 64 << 10
	// maxEarlyBody limits a message, which is refused anyway, to the size of a response.
	maxEarlyBody = wire.MaxResponse - wire.MessageHeaderLen
)

// handshake connects and negotiates; cfg must have its defaults. The error is an *Error; the socket
// is then closed. No goroutine is left. User code may panic or call runtime.Goexit.
func handshake(ctx context.Context, addr string, cfg *Config, sub *Subscription) (*transport, error) {
	nc, err := dial(ctx, addr, cfg)
	if err != nil {
		return nil, &Error{Addr: addr, Phase: PhaseDial, Err: err}
	}
	t := newTransport(nc)
	nc = t.nc
	hctx, cancel := context.WithTimeoutCause(ctx, cfg.HandshakeTimeout, errHandshakeTimeout)
	defer cancel()
	detach := closeAtEnd(hctx, nc)
	h := &handshaker{addr: addr, cfg: cfg, sub: sub, t: t, phase: PhaseIdentify}
	if failure := guard.Isolate(func() { err = h.run(hctx) }); failure != nil { // of AuthSecret, TLS, or nc
		err = failure
	}
	if !detach() || hctx.Err() != nil {
		err = ended(hctx) // the end of hctx caused the failure
		if context.Cause(hctx) == errHandshakeTimeout {
			err = fmt.Errorf("not done within %v: %w", cfg.HandshakeTimeout, os.ErrDeadlineExceeded)
		}
	}
	if err != nil {
		_ = nc.Close() // Close of a tls.Conn would write
		if isAlert(err) {
			h.phase = PhaseTLS
		}
		if answer, ok := errors.AsType[*AnswerError](err); ok {
			answer.clean(h.t)
		}
		return nil, &Error{Addr: addr, Phase: h.phase, Err: err}
	}
	return h.t, nil
}

// closeAtEnd closes nc when ctx ends. detach cancels that; it returns false if nc is closed
// already.
func closeAtEnd(ctx context.Context, nc net.Conn) (detach func() bool) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = nc.Close()
	})
	return func() bool {
		if stop() {
			return true
		}
		<-closed
		return false
	}
}

func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// handshaker reads exactly one frame at a time: at an upgrade the next bytes belong to the next
// layer.
type handshaker struct {
	addr  string
	cfg   *Config
	sub   *Subscription
	t     *transport
	phase Phase

	buf       []byte
	heartbeat bool // a heartbeat is unanswered
}

func (h *handshaker) run(ctx context.Context) error {
	h.t.rtt = math.MaxInt64
	if err := h.identify(); err != nil {
		return err
	}
	if h.t.resp.TLS {
		h.phase = PhaseTLS
		if err := h.upgradeTLS(ctx); err != nil {
			return err
		}
	}
	if h.t.resp.Snappy || h.t.resp.Deflate {
		h.phase = PhaseCompression
		if err := h.compress(); err != nil {
			return err
		}
	}
	if h.t.resp.AuthRequired {
		h.phase = PhaseAuth
		if err := h.auth(ctx); err != nil {
			return err
		}
	}
	if h.sub != nil {
		h.phase = PhaseSubscribe
		if err := h.subscribe(); err != nil {
			return err
		}
	}
	return h.answerHeartbeat()
}

func (h *handshaker) identify() error {
	command, err := appendIdentify([]byte(wire.Magic), h.cfg, h.sub)
	if err != nil {
		return err
	}
	data, err := h.ask(command)
	if err != nil {
		return h.explain(err)
	}
	if h.t.resp, err = parseIdentity(data); err != nil {
		return err
	}
	return h.t.resp.check(h.cfg, h.sub)
}

// explain says what to do about a refusal of IDENTIFY for which a setting is to blame.
func (h *handshaker) explain(err error) error {
	refused, ok := errors.AsType[*wire.ProtocolError](err)
	if ok && h.sub != nil && h.sub.MessageTimeout > 0 && strings.Contains(refused.Error(), "msg timeout") {
		return fmt.Errorf("nsqx: nsqd allows no message timeout of %v: shorten it, or raise nsqd's --max-msg-timeout: %w", h.sub.MessageTimeout, err)
	}
	return err
}

func (h *handshaker) upgradeTLS(ctx context.Context) error {
	tc := tls.Client(h.t.nc, tlsConfig(h.cfg.TLS, h.addr))
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	h.t.nc, h.t.r, h.t.w, h.t.closeWrite = tc, tc, tc, tc.CloseWrite
	return h.wantOK("TLS")
}

func (h *handshaker) compress() error {
	if h.t.resp.Snappy {
		h.t.useSnappy()
		return h.wantOK("snappy")
	}
	level := h.cfg.DeflateLevel
	if h.sub != nil {
		level = 0 // a consumer sends short commands only
	}
	if err := h.t.useDeflate(level); err != nil {
		return err
	}
	return h.wantOK("deflate")
}

func (h *handshaker) auth(ctx context.Context) error {
	switch {
	case h.cfg.AuthSecret == nil:
		return ErrAuthRequired
	case !h.t.resp.TLS && !h.cfg.AllowPlaintextAuth:
		return ErrPlaintextAuth
	}
	secret, err := guard.Value(func() (string, error) { return h.cfg.AuthSecret(ctx) })
	if err != nil {
		return fmt.Errorf("conn.Config.AuthSecret: %w", err)
	}
	if len(secret) == 0 || len(secret) > maxSecret {
		return &ConfigError{Field: "conn.Config.AuthSecret", Reason: fmt.Sprintf("returned %d bytes: allowed is 1 to %d", len(secret), maxSecret)}
	}
	h.t.secret = secret
	data, err := h.ask(wire.AppendAUTH(nil, secret))
	if err != nil {
		return err
	}
	return checkAuthAnswer(data)
}

func (h *handshaker) subscribe() error {
	data, err := h.ask(wire.AppendSUB(nil, h.sub.Topic, h.sub.Channel))
	if err != nil {
		return err
	}
	return checkOK("SUB", data)
}

// answerHeartbeat sends one NOP for all heartbeats. Earlier it could be fatal: an nsqd that
// requires TLS accepts no command before.
func (h *handshaker) answerHeartbeat() error {
	if !h.heartbeat {
		return nil
	}
	_, err := h.t.w.Write(wire.AppendNOP(nil))
	return err
}

// ask writes a command and returns the answer, which is valid until the next read.
func (h *handshaker) ask(command []byte) ([]byte, error) {
	start := time.Now()
	if _, err := h.t.w.Write(command); err != nil {
		return nil, err
	}
	data, err := h.answer()
	h.t.rtt = min(h.t.rtt, time.Since(start))
	return data, err
}

func (h *handshaker) wantOK(of string) error {
	data, err := h.answer()
	if err != nil {
		return err
	}
	return checkOK(of, data)
}

func checkOK(command string, data []byte) error {
	if string(data) != wire.OK {
		return &AnswerError{command, "", string(data), "want OK"}
	}
	return nil
}

func (h *handshaker) answer() ([]byte, error) {
	for {
		typ, data, err := h.frame()
		switch {
		case err != nil:
			return nil, err
		case typ == wire.FrameError:
			return nil, h.t.meaning(h.t.parseError(data))
		case typ == wire.FrameMessage:
			return nil, errEarlyMessage
		case !wire.IsHeartbeat(data):
			return data, nil
		}
		h.heartbeat = true
	}
}

var errEarlyMessage = errors.New("nsqd sent a message before it answered SUB")

func (h *handshaker) frame() (wire.FrameType, []byte, error) {
	h.buf = h.buf[:0]
	for {
		typ, data, n, need, err := wire.NextFrame(h.buf, maxEarlyBody)
		if err != nil || n > 0 {
			return typ, data, err
		}
		have := len(h.buf)
		h.buf = slices.Grow(h.buf, need-have)[:need]
		_, err = io.ReadFull(h.t.r, h.buf[have:])
		if err == io.EOF && have > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, nil, fmt.Errorf("waiting for an answer: %w", err)
		}
	}
}
