package nsqxtest

import (
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// Publication is a message that a client has published.
type Publication struct {
	Time  time.Time
	Conn  int // number of the dial of its connection, from 1
	ID    handler.ID
	Body  []byte
	Delay time.Duration // of a DPUB
}

// Publish publishes messages to a topic, immediately and without a connection, and returns their
// ids. A topic that does not exist is created. Messages of a topic without channels wait for its
// first channel; otherwise each channel gets a copy.
func (s *Server) Publish(topic string, bodies ...[]byte) []handler.ID {
	s.mu.Lock()
	defer s.unlock()
	ids := make([]handler.ID, len(bodies))
	t := s.topic(topic)
	for i, body := range bodies {
		ids[i] = t.publish(&message{timestamp: time.Now().UnixNano(), body: slices.Clone(body)})
	}
	return ids
}

// PublishMessage is Publish for a single message with options: see [WithAttempts],
// [WithTimestamp], [WithDelay], [WithID] and [WithHeader].
func (s *Server) PublishMessage(topic string, body []byte, opts ...MessageOption) handler.ID {
	cfg := newMessageConfig(opts)
	s.mu.Lock()
	defer s.unlock()
	return s.topic(topic).publish(&message{
		id:        cfg.id,
		timestamp: cfg.timestamp.UnixNano(),
		attempts:  cfg.attempts - 1, // the first delivery increments it
		body:      cfg.body(body),
		delay:     cfg.delay,
	})
}

// Published returns what clients have published to a topic, without messages published by
// [Server.Publish] and [Server.PublishMessage].
func (s *Server) Published(topic string) []Publication {
	s.mu.Lock()
	defer s.unlock()
	if t := s.topics[topic]; t != nil {
		return slices.Clone(t.published)
	}
	return nil
}

// publishParams checks the line of a PUB, DPUB or MPUB, and returns the delay of a DPUB.
func (c *ServerConn) publishParams(cmd Command) (delay time.Duration, f *fault) {
	wanted := 1
	switch cmd.Name {
	case "IDENTIFY", "AUTH":
		return 0, nil
	case "DPUB":
		wanted = 2
	}
	if len(cmd.Params) < wanted {
		return 0, faultf(CheckSyntax, "E_INVALID %s insufficient number of parameters", cmd.Name)
	}
	if !validName(cmd.Param(0)) {
		return 0, faultf(CheckSyntax, "E_BAD_TOPIC %s topic name %q is not valid", cmd.Name, cmd.Param(0))
	}
	if cmd.Name == "DPUB" {
		most := c.server.cfg.maxReqTimeout.Milliseconds()
		ms, err := strconv.ParseInt(cmd.Param(1), 10, 64)
		if err != nil {
			return 0, faultf(CheckSyntax, "E_INVALID DPUB could not parse timeout %s", cmd.Param(1))
		}
		if ms < 0 || ms > most {
			return 0, faultf(CheckSyntax, "E_INVALID DPUB timeout %s out of range 0-%d", cmd.Param(1), most)
		}
		delay = time.Duration(ms) * time.Millisecond
	}
	return delay, nil
}

// executePublish executes PUB, DPUB and MPUB.
func (c *ServerConn) executePublish(cmd Command) *fault {
	delay, f := c.publishParams(cmd)
	if f != nil {
		return f
	}
	if f := c.authorize(cmd); f != nil {
		return f
	}
	bodies := [][]byte{cmd.Body}
	if cmd.Name == "MPUB" {
		if bodies, f = splitMPUB(cmd.Body, &c.server.cfg); f != nil {
			return f
		}
	}
	t := c.server.topic(cmd.Param(0))
	for _, body := range bodies {
		id := t.publish(&message{timestamp: cmd.Time.UnixNano(), body: body, delay: delay})
		t.published = append(t.published, Publication{Time: cmd.Time, Conn: c.n, ID: id, Body: body, Delay: delay})
	}
	c.server.change.Broadcast()
	c.respond("OK")
	return nil
}

// splitMPUB splits the body of an MPUB: the number of messages, then a size and a body for each.
func splitMPUB(b []byte, cfg *serverConfig) ([][]byte, *fault) {
	next := func() (int, bool) {
		if len(b) < 4 {
			return 0, false
		}
		n := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		return int(n), true
	}
	count, ok := next()
	if !ok || count <= 0 || count > (cfg.maxBodySize-4)/5 {
		return nil, faultf(CheckSyntax, "E_BAD_BODY MPUB invalid message count %d", count)
	}
	var bodies [][]byte
	for i := range count {
		n, ok := next()
		if !ok || n <= 0 || n > cfg.maxMsgSize || n > len(b) {
			return nil, faultf(CheckSyntax, "E_BAD_MESSAGE MPUB invalid message(%d) body size %d", i, n)
		}
		bodies, b = append(bodies, b[:n:n]), b[n:]
	}
	if len(b) > 0 {
		return nil, faultf(CheckSyntax, "E_BAD_BODY MPUB has %d bytes after its last message", len(b))
	}
	return bodies, nil
}
