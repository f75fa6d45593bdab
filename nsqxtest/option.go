package nsqxtest

import (
	"time"

	"github.com/nsqx/nsqx/internal/lookup"
)

// ServerOption is an option of [NewServer]. Nil options are ignored. The last option of a kind
// wins.
type ServerOption interface{ applyServer(*serverConfig) }

type serverOption func(*serverConfig)

func (o serverOption) applyServer(c *serverConfig) { o(c) }

type serverConfig struct {
	addr string

	msgTimeout, maxMsgTimeout, maxReqTimeout time.Duration
	oldRequeue                               bool
	maxRDY                                   int
	maxMsgSize, maxBodySize                  int
	heartbeat                                time.Duration
	outputSize                               int // 0: no buffer
	outputTimeout                            time.Duration
	secret                                   string

	lookupds []*Lookupd

	noLog       bool
	disabled    map[Check]bool
	maxInFlight int // 0: not checked
	grace       time.Duration
	waitTimeout time.Duration
}

// newServerConfig applies opts to nsqd's defaults.
func newServerConfig(opts []ServerOption) serverConfig {
	c := serverConfig{
		addr:          "nsqd-1.test:4150",
		msgTimeout:    time.Minute,
		maxMsgTimeout: 15 * time.Minute,
		maxReqTimeout: time.Hour,
		maxRDY:        2500,
		maxMsgSize:    1 << 20,
		maxBodySize:   5 << 20,
		heartbeat:     30 * time.Second,
		outputSize:    16 << 10,
		outputTimeout: 250 * time.Millisecond,
		disabled:      make(map[Check]bool),
		waitTimeout:   10 * time.Second,
	}
	for _, o := range opts {
		if o != nil {
			o.applyServer(&c)
		}
	}
	return c
}

// WithAddr sets the address under which clients know the server, as host:port in any form. Servers of one
// [Option] or [Lookupd] need different addresses. Defaults to nsqd-1.test:4150; [NewServers] numbers its
// servers.
func WithAddr(addr string) ServerOption {
	return serverOption(func(c *serverConfig) { c.addr = lookup.Form(addr) })
}

// WithMessageTimeout sets nsqd's --msg-timeout: how long a delivery may stay unanswered, unless
// the client asks for another timeout. Defaults to 60 s.
func WithMessageTimeout(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.msgTimeout = d })
}

// WithMaxMessageTimeout sets nsqd's --max-msg-timeout: how long a delivery may stay unanswered,
// however often it is touched. Defaults to 15 min.
func WithMaxMessageTimeout(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxMsgTimeout = d })
}

// WithMaxRequeueTimeout sets nsqd's --max-req-timeout: longer delays of REQ are shortened
// silently, longer delays of DPUB are refused. Defaults to 1 h.
func WithMaxRequeueTimeout(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxReqTimeout = d })
}

// WithOldRequeue makes the server end the connection for a REQ with a delay above --max-req-timeout, as
// nsqd up to 1.0.0 does. Defaults to nsqd after that.
func WithOldRequeue() ServerOption {
	return serverOption(func(c *serverConfig) { c.oldRequeue = true })
}

// WithMaxRDY sets nsqd's --max-rdy-count. Defaults to 2500.
func WithMaxRDY(n int) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxRDY = n })
}

// WithMaxMessageSize sets nsqd's --max-msg-size, in bytes of body. Defaults to 1 MiB.
func WithMaxMessageSize(n int) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxMsgSize = n })
}

// WithHeartbeat sets the heartbeat interval of clients that do not ask for one. (nsqx asks.)
// Defaults to 30 s.
func WithHeartbeat(every time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.heartbeat = every })
}

// WithOutputBuffer sets the output buffer of clients that do not ask for other values. It collects
// messages for a client while in flight < RDY, and is sent when it holds size bytes, or timeout
// after its first message. It is sent at once when in flight ≥ RDY, and together with any answer.
//
// A size of 0 turns the buffer off, whatever the client asks for: every message is sent at once.
// Defaults to 16 KiB and 250 ms. (The timer of nsqd runs freely, so there the delay is at most 250
// ms.)
func WithOutputBuffer(size int, timeout time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.outputSize, c.outputTimeout = size, timeout })
}

// WithAuth makes the server ask for AUTH and accept only this secret. Defaults to no AUTH, except
// for consumers with an [Option] and a secret: the server asks them and accepts any secret.
func WithAuth(secret string) ServerOption {
	return serverOption(func(c *serverConfig) { c.secret = secret })
}

// WithLookupds makes the server register its topics and channels at nsqlookupds, and ask them for
// the channels of a new topic: see [Lookupd]. Defaults to none.
func WithLookupds(lookupds ...*Lookupd) ServerOption {
	return serverOption(func(c *serverConfig) { c.lookupds = lookupds })
}

// WithoutLog keeps no commands, so that the memory of a long test does not grow with each heartbeat:
// [Server.Commands] and [Server.CommandsWhere] return none. Defaults to all commands.
func WithoutLog() ServerOption {
	return serverOption(func(c *serverConfig) { c.noLog = true })
}

// WithoutChecks disables checks, or all checks if none is given, to test a client that breaks the
// protocol. Violations are then neither reported nor kept. Defaults to all checks enabled.
func WithoutChecks(checks ...Check) ServerOption {
	if len(checks) == 0 {
		checks = allChecks()
	}
	return serverOption(func(c *serverConfig) {
		for _, check := range checks {
			c.disabled[check] = true
		}
	})
}

// WithMaxInFlightCheck checks that the RDY counts of a consumer, over all its connections to the
// servers of one [Option], do not add up to more than n for longer than grace. Give it to each of
// the servers. Defaults to no check.
//
// A consumer that moves RDY between connections lowers one first, but the two commands may arrive
// in the other order. So a grace of 1 ms fits a synctest bubble, where it is very long, and 100 ms
// fits real time. A connection that has brought nothing for 2 s may have a higher RDY for 10 ms at a
// time: so nsqx finds an nsqd that counts wrongly (see [ServerConn.Drift]).
func WithMaxInFlightCheck(n int, grace time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxInFlight, c.grace = n, grace })
}

// WithPatience sets how long [Received] and [Server.Await] wait before they fail the test.
// Defaults to 10 s.
func WithPatience(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.waitTimeout = d })
}
