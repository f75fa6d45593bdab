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

// maxLine is the size of nsqd's read buffer, which limits the line of a command.
const maxLine = 16 << 10

// Command is a command of a client: a line with a name and parameters, and a body for IDENTIFY,
// AUTH, PUB, MPUB and DPUB.
type Command struct {
	Time   time.Time // when it was read
	Conn   int       // number of the dial of its connection, from 1
	Name   string
	Params []string
	Body   []byte
}

// String returns the line.
func (c Command) String() string {
	return strings.Join(append([]string{c.Name}, c.Params...), " ")
}

// Param returns the i-th parameter, from 0, or "" if there are fewer.
func (c Command) Param(i int) string {
	if i < len(c.Params) {
		return c.Params[i]
	}
	return ""
}

// fault is the answer of nsqd to a command that it does not accept.
type fault struct {
	check  Check
	text   string // of the error frame
	silent bool   // nsqd closes without an error frame
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
	} else if errors.Is(err, os.ErrDeadlineExceeded) && !c.wasFrozen {
		c.violate(CheckHeartbeat, "no command for %v, two heartbeat intervals", 2*c.heartbeat)
	}
	c.end(endClose)
}

func (c *ServerConn) serve() error {
	deadline := c.extendDeadline()
	var magic [4]byte
	if _, err := io.ReadFull(c.r, magic[:]); err != nil {
		return err
	}
	if string(magic[:]) != "  V2" {
		return faultf(CheckSyntax, "E_BAD_PROTOCOL")
	}
	for {
		cmd, err := c.readCommand()
		if !c.waitForThaw(deadline) {
			return errFrozen
		}
		if err != nil {
			return err
		}
		cmd.Time, cmd.Conn = time.Now(), c.n
		if !c.record(cmd) {
			return nil
		}
		action := c.askHook(cmd)
		if !c.apply(action, cmd) {
			return nil
		}
		deadline = c.extendDeadline()
	}
}

// errFrozen ends a connection whose commands stayed frozen until the read deadline.
var errFrozen = errors.New("frozen for too long")

// extendDeadline gives the client two heartbeat intervals for its next command.
func (c *ServerConn) extendDeadline() time.Time {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	var t time.Time
	if c.heartbeat > 0 {
		t = time.Now().Add(2 * c.heartbeat)
	}
	_ = c.nc.SetReadDeadline(t) // if closed, the read fails too
	return t
}

// waitForThaw blocks while the direction to the server is frozen. It returns false if the
// direction stayed frozen until deadline.
func (c *ServerConn) waitForThaw(deadline time.Time) bool {
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

// record logs and checks a command. It returns false if the connection is gone.
func (c *ServerConn) record(cmd Command) bool {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	if c.gone {
		return false
	}
	c.wasFrozen = c.isFrozen(BothWays)
	if !s.cfg.noLog {
		s.log = append(s.log, cmd)
	}
	s.change.Broadcast()
	c.check(cmd)
	return true
}

// apply does an action. It returns false if the connection is gone.
func (c *ServerConn) apply(a Action, cmd Command) bool {
	s := c.server
	s.mu.Lock()
	defer s.unlock()
	if !c.gone {
		c.perform(a, cmd)
	}
	return !c.gone
}

// readCommand reads one command. The error is a *fault if the client broke the protocol.
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
	var code, empty, large string // as in the errors of nsqd
	switch cmd.Name {
	case "IDENTIFY", "AUTH", "MPUB":
		most, code, empty, large = c.server.cfg.maxBodySize, "E_BAD_BODY", "body", "body"
	case "PUB", "DPUB":
		most, code, empty, large = c.server.cfg.maxMsgSize, "E_BAD_MESSAGE", "message body", "message"
	default:
		return cmd, nil
	}
	if _, f := c.publishParams(cmd); f != nil { // nsqd checks before it reads the body
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

// refuse records a violation and answers it. The caller holds server.mu.
func (c *ServerConn) refuse(f *fault) {
	c.violate(f.check, "%s", f.text)
	if !f.silent {
		c.sendError(f.text)
	}
}
