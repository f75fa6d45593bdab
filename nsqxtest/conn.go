package nsqxtest

import (
	"bufio"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/nsqx/nsqx/internal/pipe"
)

// ServerConn is the server's side of a connection. Its methods may be called concurrently.
type ServerConn struct {
	server *Server
	n      int
	group  *group
	nc     *pipe.Conn
	r      *bufio.Reader // of the read loop
	done   chan struct{} // closed when the connection is gone

	// All that follows is guarded by server.mu.
	gone      bool
	disturbed bool // frozen at some time since the last command: silence is no fault of the client
	frozen    Direction

	output

	state        connState
	authRequired bool
	authorized   bool
	heartbeat    time.Duration // 0: off
	beat         *time.Timer
	msgTimeout   time.Duration
	sampleRate   int
	sampled      int // messages so far
	identify     map[string]any

	channel  *channel // nil before SUB
	rdy      int
	inFlight int
	open     map[string]int // deliveries of an id that the client has not answered, timed out or not
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
		open:         make(map[string]int),
	}
	c.output.init(&s.cfg, &s.mu)
	c.startHeartbeat()
	return c
}

// N returns which dial of its server the connection was, from 1.
func (c *ServerConn) N() int { return c.n }

// Server returns the server.
func (c *ServerConn) Server() *Server { return c.server }

// Topic returns the topic that the client has subscribed to; "" before that.
func (c *ServerConn) Topic() string {
	c.server.mu.Lock()
	defer c.server.unlock()
	if c.channel == nil {
		return ""
	}
	return c.channel.topic.name
}

// Channel returns the channel that the client has subscribed to; "" before that.
func (c *ServerConn) Channel() string {
	c.server.mu.Lock()
	defer c.server.unlock()
	if c.channel == nil {
		return ""
	}
	return c.channel.name
}

// RDY returns the client's last one.
func (c *ServerConn) RDY() int {
	c.server.mu.Lock()
	defer c.server.unlock()
	return c.rdy
}

// InFlight returns how many messages are in flight to the client, as nsqd counts them.
func (c *ServerConn) InFlight() int {
	c.server.mu.Lock()
	defer c.server.unlock()
	return c.inFlight
}

// Identify returns what the client has sent with IDENTIFY, as encoding/json decodes it; nil before that.
func (c *ServerConn) Identify() map[string]any {
	c.server.mu.Lock()
	defer c.server.unlock()
	return maps.Clone(c.identify)
}

// Disconnect closes the connection as an nsqd does that is stopped.
func (c *ServerConn) Disconnect() {
	c.server.mu.Lock()
	defer c.server.unlock()
	c.cut((*pipe.Conn).Close)
}

// WriteRaw sends bytes as they are, behind what was sent before: a frame that is malformed, or one that nsqd would not
// send now.
func (c *ServerConn) WriteRaw(p []byte) {
	c.server.mu.Lock()
	defer c.server.unlock()
	c.flush()
	c.enqueue(chunk{p: slices.Clone(p)})
}

// Direction is one way of a connection, or both.
type Direction uint8

// The directions.
const (
	ToServer Direction = 1 << iota
	ToClient
	BothWays = ToServer | ToClient
)

// Freeze stops the flow of bytes in a direction, for the connections that stand and for those to come, as a network does
// that loses all packets, or a host that is suspended. Nobody is told, and nothing is lost: it arrives after Thaw. What
// nsqd would do about a silent client, the server does. It adds to what is frozen already.
func (s *Server) Freeze(d Direction) {
	s.mu.Lock()
	defer s.unlock()
	s.frozen |= d
	for _, c := range s.conns {
		c.disturbed = true
	}
}

// Thaw undoes Freeze for a direction.
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
	c.disturbed = true
}

// Thaw undoes the connection's Freeze for a direction; what the server has frozen stays so.
func (c *ServerConn) Thaw(d Direction) {
	c.server.mu.Lock()
	defer c.server.unlock()
	c.frozen &^= d
	c.server.change.Broadcast()
	c.wake.Broadcast()
}

// isFrozen says whether a direction is. The caller holds server.mu.
func (c *ServerConn) isFrozen(d Direction) bool { return (c.frozen|c.server.frozen)&d != 0 }

// subscribed says whether the client is. The caller holds server.mu.
func (c *ServerConn) subscribed() bool { return c.channel != nil && !c.gone }

// startHeartbeat (re)starts the heartbeats. The caller holds server.mu.
func (c *ServerConn) startHeartbeat() {
	if c.beat != nil {
		c.beat.Stop()
	}
	if c.heartbeat == 0 {
		return
	}
	c.beat = c.server.after(c.heartbeat, func() {
		if !c.gone {
			c.respond("_heartbeat_")
			c.startHeartbeat()
		}
	})
}

// end lets the server forget the connection, and closes it behind what is to be written. The caller holds server.mu.
func (c *ServerConn) end(how ending) {
	if c.forget() {
		c.enqueue(chunk{end: how})
	}
}

// cut ends the connection at once. The caller holds server.mu.
func (c *ServerConn) cut(end func(*pipe.Conn) error) {
	c.forget()
	_ = end(c.nc) // closed already is well
	c.aborted = true
	c.wake.Broadcast()
	c.server.change.Broadcast() // a read loop may wait for a thaw
}

// forget takes the connection out of nsqd's state. Its messages in flight stay there until they time out. It reports
// whether nobody has called it before. The caller holds server.mu.
func (c *ServerConn) forget() (first bool) {
	if c.gone {
		return false
	}
	c.gone = true
	close(c.done)
	if c.beat != nil {
		c.beat.Stop()
	}
	c.discard()
	if c.channel != nil {
		c.group.setRDY(c, 0)
		c.channel.unsubscribe(c)
	}
	c.server.change.Broadcast()
	return true
}

// writeLoop writes what is flushed, until the end.
func (c *ServerConn) writeLoop() {
	s := c.server
	defer func() {
		s.mu.Lock()
		defer s.unlock()
		s.conns = slices.DeleteFunc(s.conns, func(other *ServerConn) bool { return other == c })
	}()
	var w io.Writer = c.nc
	for {
		chunks, deadline := c.take()
		if chunks == nil {
			return
		}
		_ = c.nc.SetWriteDeadline(deadline) // a connection that is closed fails the write, too
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
