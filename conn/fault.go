package conn

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nsqx/nsqx/internal/wire"
)

// ServerError is an error that nsqd sent: its code, such as E_FIN_FAILED, and
// its text.
type ServerError = wire.ProtocolError

// What ends a connection that was established, and what became of a publish.
var (
	// ErrSilent: nsqd has sent nothing for two heartbeat intervals, has not
	// completed a frame within two of its first byte, or has not read what was
	// written within one.
	ErrSilent = errors.New("nsqx: nsqd is silent")

	// ErrNotConfirmed: after the half-close nsqd has not closed its side in
	// time, so the last answers may not have reached it.
	ErrNotConfirmed = errors.New("nsqx: nsqd has not confirmed the end of the connection")

	// ErrPublishTimeout: nsqd has not answered a publish in time, though it may send heartbeats.
	ErrPublishTimeout = errors.New("nsqx: nsqd does not answer a publish")
)

// errClosed is the failure of a connection that ended as it should.
var errClosed = errors.New("nsqx: connection closed")

// fault makes an [*Error] of what ended the stream.
func (c *Conn) fault(err error) error {
	phase := PhaseStream
	switch {
	case err == errClosed || isA[*Error](err):
		return err
	case err == io.EOF:
		err = fmt.Errorf("nsqx: nsqd closed the connection: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w (heartbeat interval %v): %w", ErrSilent, c.cfg.HeartbeatInterval, err)
	case isAlert(err):
		// TLS 1.3 refuses a client certificate after the handshake.
		phase = PhaseTLS
	}
	return &Error{Addr: c.addr, Phase: phase, Err: err}
}
