package nsqxtest

import (
	"strings"
	"time"
)

// Action is what a [Server] does with a command. The zero Action is [Proceed].
type Action struct {
	kind  actionKind
	text  string
	delay time.Duration
}

type actionKind uint8

const (
	proceed actionKind = iota
	fail
	respond
	drop
	hangUp
	reset
)

// Proceed does what nsqd does.
func Proceed() Action { return Action{} }

// Fail answers with an error frame, such as "E_SUB_FAILED too many consumers", and then closes the
// connection, except after E_FIN_FAILED, E_REQ_FAILED and E_TOUCH_FAILED, as nsqd does. The
// command has no other effect.
func Fail(text string) Action { return Action{kind: fail, text: text} }

// Respond answers with a response frame of text. The command has no other effect.
func Respond(text string) Action { return Action{kind: respond, text: text} }

// Drop ignores the command, as if it were lost in transit.
func Drop() Action { return Action{kind: drop} }

// HangUp closes the connection without an answer.
func HangUp() Action { return Action{kind: hangUp} }

// Reset ends the connection with a TCP reset: what the client has not read is lost.
func Reset() Action { return Action{kind: reset} }

// After returns an action that does a after a delay of d. Later commands of the same connection
// wait, too.
func (a Action) After(d time.Duration) Action {
	a.delay = d
	return a
}

// On sets the hook for commands of a name, such as "SUB": hook decides what the server does with
// each. A nil hook removes the hook. The hook for "" gets every command whose name has no hook.
//
// The goroutine of a connection calls the hook, one command of the connection at a time, after the
// server has recorded and checked the command. A hook may call the methods of Server and
// ServerConn.
func (s *Server) On(name string, hook func(c *ServerConn, cmd Command) Action) {
	s.mu.Lock()
	defer s.unlock()
	s.hooks[name] = hook
}

// askHook returns the action for cmd, after the delay of the action.
func (c *ServerConn) askHook(cmd Command) Action {
	s := c.server
	s.mu.Lock()
	hook := s.hooks[cmd.Name]
	if hook == nil {
		hook = s.hooks[""]
	}
	s.unlock()
	if hook == nil {
		return Proceed()
	}
	a := hook(c, cmd)
	if a.delay > 0 {
		timer := time.NewTimer(a.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.done:
		}
	}
	return a
}

// perform does an action. The caller holds server.mu.
func (c *ServerConn) perform(a Action, cmd Command) {
	switch a.kind {
	case proceed:
		c.execute(cmd)
	case fail:
		c.sendError(a.text)
	case respond:
		c.respond(a.text)
	case hangUp:
		c.end(endClose)
	case reset:
		c.end(endReset)
	case drop:
	}
}

// sendError sends an error frame, and ends the connection unless nsqd keeps it open after such an
// error. The caller holds server.mu.
func (c *ServerConn) sendError(text string) {
	c.send(frameError, []byte(text))
	switch code, _, _ := strings.Cut(text, " "); code {
	case "E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED":
	default:
		c.end(endClose)
	}
}
