package conn

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nsqx/nsqx/internal/wire"
)

// ServerError is an error that nsqd sent: its code, such as E_FIN_FAILED, and its text.
type ServerError = wire.ProtocolError

// Errors that end an established connection.
var (
	// ErrSilent: nsqd sent nothing for two heartbeat intervals, did not complete a frame within two
	// intervals of its first byte, or did not read a write within one.
	ErrSilent = errors.New("nsqx: nsqd is silent")

	// ErrNotConfirmed: nsqd did not close its side in time after the half-close, so it may not have
	// read the last answers.
	ErrNotConfirmed = errors.New("nsqx: nsqd has not confirmed the end of the connection")

	// ErrPublishTimeout: nsqd did not answer a publish in time, although it may send heartbeats.
	ErrPublishTimeout = errors.New("nsqx: nsqd does not answer a publish")
)

// errClosed marks a graceful end.
var errClosed = errors.New("nsqx: connection closed")

func (c *Conn) fault(err error) error {
	phase := PhaseStream
	switch {
	case err == errClosed || isA[*Error](err):
		return err
	case err == io.EOF:
		err = fmt.Errorf("nsqx: nsqd closed the connection: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w (heartbeat interval %v): %w", ErrSilent, c.cfg.HeartbeatInterval, err)
	case isAlert(err) || errors.Is(err, ErrTLSRequired):
		phase = PhaseTLS
	}
	return &Error{Addr: c.addr, Phase: phase, Err: err}
}
