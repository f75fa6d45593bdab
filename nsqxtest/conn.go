package nsqxtest

import (
	"bufio"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/nsqx/nsqx/internal/pipe"
)

// ServerConn is the server's end of a connection. Its methods may be called concurrently.
type ServerConn struct {
	server *Server
	n      int
	group  *group
	nc     *pipe.Conn
	r      *bufio.Reader // of the read loop
	done   chan struct{} // closed when the connection is gone

	// server.mu guards the following fields.
	gone      bool
	wasFrozen bool // since the last command: the client may be silent
	frozen    Direction

	output

	state          connState
	authRequired   bool
	authorized     bool
	heartbeat      time.Duration // 0: off
	heartbeatTimer *time.Timer
	msgTimeout     time.Duration
	sampleRate     int
	sampled        int // messages that the sample rate has seen
	identify       map[string]any

	channel    *channel // nil before SUB
	rdy        int
	inFlight   int
	drift      int            // what inFlight lacks of nsqd's count
	delivered  time.Time      // last delivery, or SUB
	unanswered map[string]int // by message id: deliveries without FIN or REQ, timed out or not
}

type connState uint8

const (
	stateNew connState = iota
	stateIdentified
	stateSubscribed
	stateClosing // after CLS
)

func newServerConn(s *Server, nc *pipe.Conn, g *group, auth bool) *ServerConn {
	c := &ServerConn{
		server:       s,
		n:            s.dials,
		group:        g,
		nc:           nc,
		r:            bufio.NewReaderSize(nc, maxLine),
		done:         make(chan struct{}),
		authRequired: auth,
		heartbeat:    s.cfg.heartbeat,
		msgTimeout:   s.cfg.msgTimeout,
		unanswered:   make(map[string]int),
	}
	c.output.init(&s.cfg, &s.mu)
	c.startHeartbeat()
	return c
}

// N returns the number of the dial, from 1.
func (c *ServerConn) N() int { return c.n }

// Server returns the server.
func (c *ServerConn) Server() *Server { return c.server }

// Topic returns the topic of the subscription, or "" before SUB.
func (c *ServerConn) Topic() string {
	c.server.mu.Lock()
	defer c.server.unlock()
	if c.channel == nil {
		return ""
	}
	return c.channel.topic.name
}

// Channel returns the channel of the subscription, or "" before SUB.
func (c *ServerConn) Channel() string {
	c.server.mu.Lock()
	defer c.server.unlock()
	if c.channel == nil {
		return ""
	}
	return c.channel.name
}

// RDY returns the client's last RDY count.
func (c *ServerConn) RDY() int {
	c.server.mu.Lock()
	defer c.server.unlock()
	return c.rdy
}

// InFlight returns how many messages are in flight to the client, as nsqd counts them: with what it
// counts too many (see [ServerConn.Drift]).
func (c *ServerConn) InFlight() int {
	c.server.mu.Lock()
	defer c.server.unlock()
	return c.inFlight + c.drift
}

// Drift makes the server count n messages too many in flight to the client, for as long as the
// connection lasts. The count of nsqd is wrong after a kill: its disk queue may then hold a message
// twice under one id, and when both are in flight, it refuses the second FIN and counts nothing
// down. (A server that gets a message twice under one id, see [WithID], does that by itself.)
func (c *ServerConn) Drift(n int) {
	c.server.mu.Lock()
	defer c.server.unlock()
	c.driftBy(n)
	if c.channel != nil {
		c.channel.pump()
	}
}

// driftBy requires server.mu.
func (c *ServerConn) driftBy(n int) {
	c.drift += n
	c.group.setRDY(c, c.rdy)
}

// Identify returns the body of IDENTIFY as encoding/json decodes it, or nil before IDENTIFY.
func (c *ServerConn) Identify() map[string]any {
	c.server.mu.Lock()
	defer c.server.unlock()
	return maps.Clone(c.identify)
}

// Disconnect closes the connection like an nsqd that is stopped.
func (c *ServerConn) Disconnect() {
	c.server.mu.Lock()
	defer c.server.unlock()
	c.cut((*pipe.Conn).Close)
}

// WriteRaw sends p unchanged, after everything sent before: a malformed frame, or a frame that a
// correct nsqd would not send now.
func (c *ServerConn) WriteRaw(p []byte) {
	c.server.mu.Lock()
	defer c.server.unlock()
	c.flush()
	c.enqueue(chunk{p: slices.Clone(p)})
}

// Direction is one direction of a connection, or both.
type Direction uint8

// The directions.
const (
	ToServer Direction = 1 << iota
	ToClient
	BothWays = ToServer | ToClient
)

// Freeze stops the flow of bytes in direction d on all connections, present and future, like a
// network that loses all packets or a host that is suspended. Neither side gets an error, and no
// byte is lost: all arrive after [Server.Thaw]. Meanwhile the server treats a silent client as
// nsqd does. Directions frozen before stay frozen.
func (s *Server) Freeze(d Direction) {
	s.mu.Lock()
	defer s.unlock()
	s.frozen |= d
	for _, c := range s.conns {
		c.wasFrozen = true
	}
}

// Thaw undoes [Server.Freeze] for direction d.
func (s *Server) Thaw(d Direction) {
	s.mu.Lock()
	defer s.unlock()
	s.frozen &^= d
	s.change.Broadcast()
	for _, c := range s.conns {
		c.wake.Broadcast()
	}
}

// Freeze is [Server.Freeze] for one connection.
func (c *ServerConn) Freeze(d Direction) {
	c.server.mu.Lock()
	defer c.server.unlock()
	c.frozen |= d
	c.wasFrozen = true
}

// Thaw undoes [ServerConn.Freeze] for direction d. A direction that [Server.Freeze] froze stays
// frozen.
func (c *ServerConn) Thaw(d Direction) {
	c.server.mu.Lock()
	defer c.server.unlock()
	c.frozen &^= d
	c.server.change.Broadcast()
	c.wake.Broadcast()
}

// isFrozen reports whether direction d is frozen. The caller holds server.mu.
func (c *ServerConn) isFrozen(d Direction) bool { return (c.frozen|c.server.frozen)&d != 0 }

// subscribed reports whether the client is subscribed. The caller holds server.mu.
func (c *ServerConn) subscribed() bool { return c.channel != nil && !c.gone }

// startHeartbeat (re)starts the heartbeats. The caller holds server.mu.
func (c *ServerConn) startHeartbeat() {
	if c.heartbeatTimer != nil {
		c.heartbeatTimer.Stop()
	}
	if c.heartbeat == 0 {
		return
	}
	c.heartbeatTimer = c.server.after(c.heartbeat, func() {
		if !c.gone {
			c.respond("_heartbeat_")
			c.startHeartbeat()
		}
	})
}

// end removes the connection from the server and closes it after everything enqueued before. The
// caller holds server.mu.
func (c *ServerConn) end(how ending) {
	if c.forget() {
		c.enqueue(chunk{end: how})
	}
}

// cut ends the connection immediately. The caller holds server.mu.
func (c *ServerConn) cut(end func(*pipe.Conn) error) {
	c.forget()
	_ = end(c.nc) // an error means closed before
	c.aborted = true
	c.wake.Broadcast()
	c.server.change.Broadcast() // for a read loop that waits for a thaw
}

// forget removes the connection from the state of nsqd; its messages stay in flight until they
// time out. It reports whether this was the first call. The caller holds server.mu.
func (c *ServerConn) forget() (first bool) {
	if c.gone {
		return false
	}
	c.gone = true
	close(c.done)
	if c.heartbeatTimer != nil {
		c.heartbeatTimer.Stop()
	}
	c.discard()
	if c.channel != nil {
		c.group.setRDY(c, 0)
		c.channel.unsubscribe(c)
	}
	c.server.change.Broadcast()
	return true
}

// writeLoop writes what is enqueued until the connection ends.
func (c *ServerConn) writeLoop() {
	s := c.server
	defer func() {
		s.mu.Lock()
		defer s.unlock()
		s.conns = slices.DeleteFunc(s.conns, func(other *ServerConn) bool { return other == c })
	}()
	var w io.Writer = c.nc
	for {
		chunks, deadline := c.nextChunks()
		if chunks == nil {
			return
		}
		_ = c.nc.SetWriteDeadline(deadline) // if closed, the write fails too
		for _, ch := range chunks {
			var err error
			switch {
			case ch.end == endReset:
				c.nc.Reset()
				return
			case ch.end == endClose:
				_ = c.nc.Close()
				return
			case ch.deflate != 0:
				w = newDeflater(c.nc, ch.deflate)
			default:
				_, err = w.Write(ch.p)
			}
			if err != nil {
				c.writeFailed(err)
				return
			}
		}
	}
}
