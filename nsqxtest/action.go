package nsqxtest

import (
	"strings"
	"time"
)

// Action is what a [Server] does about a command. The zero Action is Proceed.
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

// Proceed does what nsqd would do.
func Proceed() Action { return Action{} }

// Fail answers with an error, such as "E_SUB_FAILED too many consumers", and then closes the connection as nsqd does,
// unless it is E_FIN_FAILED, E_REQ_FAILED or E_TOUCH_FAILED. The command has no other effect.
func Fail(text string) Action { return Action{kind: fail, text: text} }

// Respond answers with text, whatever the command is. The command has no other effect.
func Respond(text string) Action { return Action{kind: respond, text: text} }

// Drop does as if the command had been lost on its way.
func Drop() Action { return Action{kind: drop} }

// HangUp closes the connection without an answer.
func HangUp() Action { return Action{kind: hangUp} }

// Reset ends the connection as a TCP reset does: what the client has not read yet is lost.
func Reset() Action { return Action{kind: reset} }

// After returns the action, to be taken after d. Commands that come behind it on the same connection wait, too.
func (a Action) After(d time.Duration) Action {
	a.delay = d
	return a
}

// On lets hook decide what becomes of each command of that name, such as "SUB", until it is set anew; nil ends that. A
// hook for "" is asked about the commands that have none of their own. Hooks are called by the goroutines of connections,
// for one command of a connection at a time, after the command was recorded and checked, and may call the methods of
// Server and ServerConn.
func (s *Server) On(name string, hook func(c *ServerConn, cmd Command) Action) {
	s.mu.Lock()
	defer s.unlock()
	s.hooks[name] = hook
}

// act asks the hook about a command and waits for the time of its action.
func (c *ServerConn) act(cmd Command) Action {
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

// perform takes an action. The caller holds s.mu.
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

// sendError sends an error, and ends the connection unless it is one of those after which nsqd goes on. The caller holds
// s.mu.
func (c *ServerConn) sendError(text string) {
	c.send(frameError, []byte(text))
	switch code, _, _ := strings.Cut(text, " "); code {
	case "E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED":
	default:
		c.end(endClose)
	}
}
