package nsqxtest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxLine is the size of nsqd's reader: a command's line must fit.
const maxLine = 16 << 10

// Command is what a client has sent: a line of a name and parameters, and the body of those that have one (IDENTIFY, AUTH,
// PUB, MPUB, DPUB).
type Command struct {
	Time   time.Time // when it was read
	Conn   int       // which dial of the server the connection was, from 1
	Name   string
	Params []string
	Body   []byte
}

// String returns the line.
func (c Command) String() string {
	return strings.Join(append([]string{c.Name}, c.Params...), " ")
}

// Param returns the i-th parameter, from 0; "" if there are not that many.
func (c Command) Param(i int) string {
	if i < len(c.Params) {
		return c.Params[i]
	}
	return ""
}

// fault is what nsqd answers to a command that it does not take.
type fault struct {
	check  Check
	text   string // of the error frame
	silent bool   // nsqd closes without one
}

func (f *fault) Error() string { return f.text }

func faultf(check Check, format string, args ...any) *fault {
	return &fault{check: check, text: fmt.Sprintf(format, args...)}
}

// readLoop reads and executes commands until the connection ends.
func (c *ServerConn) readLoop() {
	err := c.serve()
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	if c.gone {
		return
	}
	if f, ok := errors.AsType[*fault](err); ok {
		c.refuse(f)
	} else if errors.Is(err, os.ErrDeadlineExceeded) && !c.disturbed {
		c.violate(CheckHeartbeat, "no command for %v, two heartbeat intervals", 2*c.heartbeat)
	}
	c.end(endClose)
}

func (c *ServerConn) serve() error {
	deadline := c.moveDeadline()
	var magic [4]byte
	if _, err := io.ReadFull(c.r, magic[:]); err != nil {
		return err
	}
	if string(magic[:]) != "  V2" {
		return faultf(CheckSyntax, "E_BAD_PROTOCOL")
	}
	for {
		cmd, err := c.readCommand()
		if !c.arrives(deadline) {
			return errSilent
		}
		if err != nil {
			return err
		}
		cmd.Time, cmd.Conn = time.Now(), c.n
		if !c.record(cmd) {
			return nil
		}
		action := c.act(cmd)
		if !c.finish(action, cmd) {
			return nil
		}
		deadline = c.moveDeadline()
	}
}

// errSilent is a client of which nothing could arrive, since that direction was frozen.
var errSilent = errors.New("frozen for too long")

// moveDeadline gives the client two heartbeat intervals for its next command.
func (c *ServerConn) moveDeadline() time.Time {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	var t time.Time
	if c.heartbeat > 0 {
		t = time.Now().Add(2 * c.heartbeat)
	}
	_ = c.nc.SetReadDeadline(t) // a connection that is closed fails the read, too
	return t
}

// arrives holds what was read back while the direction is frozen, until the deadline.
func (c *ServerConn) arrives(deadline time.Time) bool {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	if !c.isFrozen(ToServer) {
		return true
	}
	over := false
	if !deadline.IsZero() {
		timer := s.after(time.Until(deadline), func() {
			over = true
			s.change.Broadcast()
		})
		defer timer.Stop()
	}
	for c.isFrozen(ToServer) && !over && !c.gone {
		s.change.Wait()
	}
	return !over
}

// record notes and checks a command. It returns false if the connection is gone.
func (c *ServerConn) record(cmd Command) bool {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	if c.gone {
		return false
	}
	c.disturbed = c.isFrozen(BothWays)
	s.log = append(s.log, cmd)
	s.change.Broadcast()
	c.check(cmd)
	return true
}

// finish takes the action for a command. It returns false if the connection is gone.
func (c *ServerConn) finish(a Action, cmd Command) bool {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	if !c.gone {
		c.perform(a, cmd)
	}
	return !c.gone
}

// readCommand reads one command. The error is a *fault if the client is at fault.
func (c *ServerConn) readCommand() (Command, error) {
	line, err := c.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return Command{}, &fault{CheckSyntax, fmt.Sprintf("a line of more than %d bytes: %.40q", maxLine, line), true}
	}
	if err != nil {
		return Command{}, err
	}
	words := strings.Split(strings.TrimSuffix(string(line[:len(line)-1]), "\r"), " ")
	cmd := Command{Name: words[0], Params: words[1:]}
	var most int
	var code, empty, large string // what nsqd calls it
	switch cmd.Name {
	case "IDENTIFY", "AUTH", "MPUB":
		most, code, empty, large = c.server.cfg.maxBodySize, "E_BAD_BODY", "body", "body"
	case "PUB", "DPUB":
		most, code, empty, large = c.server.cfg.maxMsgSize, "E_BAD_MESSAGE", "message body", "message"
	default:
		return cmd, nil
	}
	if _, f := c.publishParams(cmd); f != nil { // nsqd looks before it reads on
		return Command{}, f
	}
	var size [4]byte
	if _, err := io.ReadFull(c.r, size[:]); err != nil {
		return Command{}, err
	}
	n := int(int32(binary.BigEndian.Uint32(size[:])))
	if n <= 0 {
		return Command{}, faultf(CheckSyntax, "%s %s invalid %s size %d", code, cmd.Name, empty, n)
	}
	if n > most {
		return Command{}, faultf(CheckSyntax, "%s %s %s too big %d > %d", code, cmd.Name, large, n, most)
	}
	cmd.Body = make([]byte, n)
	_, err = io.ReadFull(c.r, cmd.Body)
	return cmd, err
}

// refuse answers what the client has done wrong. The caller holds server.mu.
func (c *ServerConn) refuse(f *fault) {
	c.violate(f.check, "%s", f.text)
	if !f.silent {
		c.sendError(f.text)
	}
}
