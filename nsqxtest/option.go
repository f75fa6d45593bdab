package nsqxtest

import "time"

// ServerOption is an option of [NewServer]. A nil one is ignored, and of one that is given twice the last one counts.
type ServerOption interface{ applyServer(*serverConfig) }

type serverOption func(*serverConfig)

func (o serverOption) applyServer(c *serverConfig) { o(c) }

type serverConfig struct {
	addr string

	msgTimeout, maxMsgTimeout, maxReqTimeout time.Duration
	maxRDY                                   int
	maxMsgSize, maxBodySize                  int
	heartbeat                                time.Duration
	outputSize                               int // 0: no buffer
	outputTimeout                            time.Duration
	secret                                   string

	off         map[Check]bool
	maxInFlight int // 0: not checked
	grace       time.Duration
	patience    time.Duration
}

// newServerConfig has nsqd's defaults.
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
		off:           make(map[Check]bool),
		patience:      10 * time.Second,
	}
	for _, o := range opts {
		if o != nil {
			o.applyServer(&c)
		}
	}
	return c
}

// WithAddr sets the address by which clients know the server, as host:port. Servers of one [Option] need different ones.
// Defaults to nsqd-1.test:4150; [NewServers] counts on from there.
func WithAddr(addr string) ServerOption {
	return serverOption(func(c *serverConfig) { c.addr = addr })
}

// WithMessageTimeout is nsqd's --msg-timeout: how long a delivery may stay unanswered, unless the client asks for something
// else. Defaults to 60 s.
func WithMessageTimeout(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.msgTimeout = d })
}

// WithMaxMessageTimeout is nsqd's --max-msg-timeout: how long a delivery may stay unanswered however often it is touched.
// Defaults to 15 min.
func WithMaxMessageTimeout(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxMsgTimeout = d })
}

// WithMaxRequeueTimeout is nsqd's --max-req-timeout: a longer delay of a REQ is cut to it without a word, and a longer one
// of a DPUB is refused. Defaults to 1 h.
func WithMaxRequeueTimeout(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxReqTimeout = d })
}

// WithMaxRDY is nsqd's --max-rdy-count. Defaults to 2500.
func WithMaxRDY(n int) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxRDY = n })
}

// WithMaxMessageSize is nsqd's --max-msg-size, in bytes of body. Defaults to 1 MiB.
func WithMaxMessageSize(n int) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxMsgSize = n })
}

// WithHeartbeat is how often a client is sent a heartbeat that asks for no interval of its own. (nsqx does ask.) Defaults to
// 30 s.
func WithHeartbeat(every time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.heartbeat = every })
}

// WithOutputBuffer sets the buffer in which messages for a client are collected, unless the client asks for something else:
// while the client could take more, they are sent when there are size bytes, or timeout after the first. A client that can
// take no more (in flight ≥ RDY) is sent what there is at once, and so is one that gets any answer.
//
// A size of 0 turns the buffer off, whatever the client asks for: every message is sent at once. Defaults to 16 KiB and
// 250 ms. (nsqd's timer runs freely, so there it is 250 ms at most.)
func WithOutputBuffer(size int, timeout time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.outputSize, c.outputTimeout = size, timeout })
}

// WithAuth makes the server ask for AUTH, and accept this secret only. Defaults to not asking; consumers that are made
// with [Option] and have a secret are asked for it nevertheless, and any is accepted.
func WithAuth(secret string) ServerOption {
	return serverOption(func(c *serverConfig) { c.secret = secret })
}

// WithoutChecks turns checks of the client off, for the test of one that misbehaves; all of them if none is named. What is
// found is then neither reported nor kept. Defaults to all checks on.
func WithoutChecks(checks ...Check) ServerOption {
	if len(checks) == 0 {
		checks = allChecks()
	}
	return serverOption(func(c *serverConfig) {
		for _, check := range checks {
			c.off[check] = true
		}
	})
}

// WithMaxInFlightCheck checks that the RDYs of a consumer, over all its connections to the servers of one [Option], never
// add up to more than n for longer than grace. A consumer moves RDY from one connection to another by lowering the one
// first, but the two commands may overtake each other on their ways: give 1 ms in a synctest bubble, where that is an
// eternity, and 100 ms outside. Give it to each of the servers. Defaults to no check.
func WithMaxInFlightCheck(n int, grace time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.maxInFlight, c.grace = n, grace })
}

// WithPatience is how long [Received] and [Server.Await] wait before they fail the test. Defaults to 10 s.
func WithPatience(d time.Duration) ServerOption {
	return serverOption(func(c *serverConfig) { c.patience = d })
}
