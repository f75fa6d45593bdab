package nsqxtest

import (
	"fmt"
	"strconv"
	"time"
)

// check checks whether the client may send cmd now. What nsqd itself answers with an error is
// found in execute. The caller holds server.mu.
func (c *ServerConn) check(cmd Command) {
	switch {
	case c.state == stateNew && cmd.Name != "IDENTIFY":
		c.violate(CheckHandshake, "%s before IDENTIFY", cmd)
	case c.state == stateIdentified && cmd.Name == "IDENTIFY":
		c.violate(CheckHandshake, "a second IDENTIFY") // nsqd accepts it
	case c.state == stateIdentified && c.authRequired && !c.authorized && cmd.Name != "AUTH":
		c.violate(CheckHandshake, "%s before AUTH", cmd)
	}
	switch cmd.Name {
	case "RDY":
		if c.state == stateClosing {
			c.violate(CheckRDY, "%s after CLS", cmd)
		}
	case "FIN", "REQ", "TOUCH":
		if c.channel == nil {
			return
		}
		id := cmd.Param(0)
		open, delivered := c.unanswered[id]
		switch {
		case !delivered:
			c.violate(CheckAnswers, "%s: the message was not delivered on this connection", cmd)
		case open == 0:
			c.violate(CheckAnswers, "%s: the message was answered before", cmd)
		case cmd.Name != "TOUCH":
			c.unanswered[id]--
		}
	}
}

// execute does with cmd what nsqd does. The caller holds server.mu.
func (c *ServerConn) execute(cmd Command) {
	var f *fault
	switch cmd.Name {
	case "NOP":
	case "IDENTIFY":
		f = c.executeIdentify(cmd)
	case "AUTH":
		f = c.executeAuth(cmd)
	case "SUB":
		f = c.executeSub(cmd)
	case "RDY":
		f = c.executeRDY(cmd)
	case "FIN", "REQ", "TOUCH":
		f = c.executeAnswer(cmd)
	case "CLS":
		f = c.executeCLS()
	case "PUB", "DPUB", "MPUB":
		f = c.executePublish(cmd)
	default:
		f = faultf(CheckSyntax, "E_INVALID invalid command %s", cmd.Name)
	}
	if f != nil {
		c.refuse(f)
	}
}

func (c *ServerConn) executeSub(cmd Command) *fault {
	switch {
	case c.channel != nil:
		return faultf(CheckState, "E_INVALID cannot SUB in current state")
	case c.heartbeat == 0:
		return faultf(CheckState, "E_INVALID cannot SUB with heartbeats disabled")
	case len(cmd.Params) < 2:
		return faultf(CheckSyntax, "E_INVALID SUB insufficient number of parameters")
	case !validName(cmd.Param(0)):
		return faultf(CheckSyntax, "E_BAD_TOPIC SUB topic name %q is not valid", cmd.Param(0))
	case !validName(cmd.Param(1)):
		return faultf(CheckSyntax, "E_BAD_CHANNEL SUB channel name %q is not valid", cmd.Param(1))
	}
	if f := c.authorize(cmd); f != nil {
		return f
	}
	c.state = stateSubscribed
	c.channel = c.server.topic(cmd.Param(0)).channel(cmd.Param(1))
	c.channel.subscribers = append(c.channel.subscribers, c)
	c.delivered = time.Now()
	c.respond("OK")
	return nil
}

func (c *ServerConn) executeRDY(cmd Command) *fault {
	if c.channel == nil {
		return faultf(CheckState, "E_INVALID cannot RDY in current state")
	}
	if c.state == stateClosing {
		return nil // like nsqd: no answer, no effect
	}
	n, most := 1, c.server.cfg.maxRDY
	if len(cmd.Params) > 0 {
		parsed, err := strconv.ParseUint(cmd.Param(0), 10, 31)
		if err != nil {
			return faultf(CheckRDY, "E_INVALID RDY could not parse count %s", cmd.Param(0))
		}
		n = int(parsed)
	}
	if n > most {
		return faultf(CheckRDY, "E_INVALID RDY count %d out of range 0-%d", n, most)
	}
	c.rdy = n
	c.group.setRDY(c, n)
	c.channel.pump()
	return nil
}

func (c *ServerConn) executeCLS() *fault {
	if c.state != stateSubscribed {
		return faultf(CheckState, "E_INVALID cannot CLS in current state")
	}
	c.state, c.rdy = stateClosing, 0
	c.group.setRDY(c, 0)
	c.respond("CLOSE_WAIT")
	return nil
}

// executeAnswer executes FIN, REQ and TOUCH.
func (c *ServerConn) executeAnswer(cmd Command) *fault {
	ch := c.channel
	if ch == nil {
		return faultf(CheckState, "E_INVALID cannot %s in current state", cmd.Name)
	}
	wanted := 1
	if cmd.Name == "REQ" {
		wanted = 2
	}
	if len(cmd.Params) < wanted {
		return faultf(CheckSyntax, "E_INVALID %s insufficient number of params", cmd.Name)
	}
	id := cmd.Param(0)
	if len(id) != len(message{}.id) {
		return faultf(CheckSyntax, "E_INVALID invalid message ID")
	}
	var delay time.Duration
	if cmd.Name == "REQ" {
		ms, err := strconv.ParseUint(cmd.Param(1), 10, 63)
		if err != nil {
			return faultf(CheckSyntax, "E_INVALID REQ could not parse timeout %s", cmd.Param(1))
		}
		delay = time.Duration(min(ms, maxMillis)) * time.Millisecond
		if most := c.server.cfg.maxReqTimeout; delay > most {
			if c.server.cfg.oldRequeue {
				c.sendError(fmt.Sprintf("E_INVALID REQ timeout %d out of range 0-%d", delay, most))
				return nil
			}
			delay = most
		}
	}
	d := ch.inFlight[id]
	switch {
	case d == nil:
		c.sendError("E_" + cmd.Name + "_FAILED " + cmd.Name + " " + id + " failed ID not in flight")
		return nil
	case d.conn != c:
		c.sendError("E_" + cmd.Name + "_FAILED " + cmd.Name + " " + id + " failed client does not own message")
		return nil
	}
	switch cmd.Name {
	case "FIN":
		ch.finish(d)
	case "REQ":
		ch.requeue(d, delay)
	case "TOUCH":
		ch.touch(d)
	}
	return nil
}

// maxMillis keeps a delay from overflowing a time.Duration.
const maxMillis = 1 << 40

// validName is nsqd's rule for topic and channel names.
func validName(name string) bool {
	const ephemeral = "#ephemeral"
	if len(name) > 64 {
		return false
	}
	if n := len(name) - len(ephemeral); n > 0 && name[n:] == ephemeral {
		name = name[:n]
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return name != ""
}
