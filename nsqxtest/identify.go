package nsqxtest

import (
	"bufio"
	"compress/flate"
	"encoding/json"
	"time"
)

// identifyRequest holds the fields of IDENTIFY that the server uses.
type identifyRequest struct {
	FeatureNegotiation  bool `json:"feature_negotiation"`
	HeartbeatInterval   int  `json:"heartbeat_interval"`
	OutputBufferSize    int  `json:"output_buffer_size"`
	OutputBufferTimeout int  `json:"output_buffer_timeout"`
	Deflate             bool `json:"deflate"`
	DeflateLevel        int  `json:"deflate_level"`
	SampleRate          int  `json:"sample_rate"`
	MsgTimeout          int  `json:"msg_timeout"`
}

const (
	maxHeartbeat     = 60_000 // ms
	maxOutputSize    = 64 << 10
	maxOutputTimeout = 30_000 // ms
	maxDeflateLevel  = 6
)

// executeIdentify negotiates the settings of the connection.
func (c *ServerConn) executeIdentify(cmd Command) *fault {
	if c.channel != nil {
		return faultf(CheckHandshake, "E_INVALID cannot IDENTIFY in current state")
	}
	var req identifyRequest
	if err := json.Unmarshal(cmd.Body, &req); err != nil {
		return faultf(CheckSyntax, "E_BAD_BODY IDENTIFY failed to decode JSON body")
	}
	_ = json.Unmarshal(cmd.Body, &c.identify) // valid JSON, as checked above

	heartbeat, size, timeout := int(c.heartbeat.Milliseconds()), c.size, int(c.timeout.Milliseconds())
	msgTimeout := int(c.msgTimeout.Milliseconds())
	for _, v := range []struct {
		name        string
		asked       int
		least, most int
		off         int // the value that -1 stands for; -1 if -1 is not allowed
		value       *int
	}{
		{"heartbeat interval", req.HeartbeatInterval, 1000, maxHeartbeat, 0, &heartbeat},
		{"output buffer size", req.OutputBufferSize, 64, maxOutputSize, 1, &size},
		{"output buffer timeout", req.OutputBufferTimeout, 25, maxOutputTimeout, 0, &timeout},
		{"sample rate", req.SampleRate, 1, 99, -1, &c.sampleRate},
		{"msg timeout", req.MsgTimeout, 1000, int(c.server.cfg.maxMsgTimeout.Milliseconds()), -1, &msgTimeout},
	} {
		switch {
		case v.asked == 0: // keep the server's default
		case v.asked == -1 && v.off >= 0:
			*v.value = v.off
		case v.asked < v.least || v.asked > v.most:
			return faultf(CheckSyntax, "E_BAD_BODY IDENTIFY %s (%d) is invalid", v.name, v.asked)
		default:
			*v.value = v.asked
		}
	}
	c.state = stateIdentified
	c.heartbeat = milliseconds(heartbeat)
	c.msgTimeout = milliseconds(msgTimeout)
	if c.size != 0 { // 0 turns the buffer off for all clients
		c.size, c.timeout = size, milliseconds(timeout)
		if size == 1 {
			c.timeout = 0
		}
	}
	c.startHeartbeat()
	if !req.FeatureNegotiation {
		c.respond("OK")
		return nil
	}

	level := maxDeflateLevel
	if req.Deflate && req.DeflateLevel > 0 {
		level = min(req.DeflateLevel, maxDeflateLevel)
	}
	answer, _ := json.Marshal(map[string]any{ // cannot fail
		"max_rdy_count":         c.server.cfg.maxRDY,
		"version":               "1.3.0",
		"max_msg_timeout":       c.server.cfg.maxMsgTimeout.Milliseconds(),
		"msg_timeout":           c.msgTimeout.Milliseconds(),
		"tls_v1":                false,
		"deflate":               req.Deflate,
		"deflate_level":         level,
		"max_deflate_level":     maxDeflateLevel,
		"snappy":                false,
		"sample_rate":           c.sampleRate,
		"auth_required":         c.authRequired,
		"output_buffer_size":    c.size,
		"output_buffer_timeout": c.timeout.Milliseconds(),
	})
	c.send(frameResponse, answer)
	if req.Deflate {
		c.useDeflate(level)
	}
	return nil
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// useDeflate switches both directions to deflate and answers OK, compressed. Only the read loop
// calls it, since it owns c.r. The caller holds server.mu.
func (c *ServerConn) useDeflate(level int) {
	if n := c.r.Buffered(); n > 0 {
		c.violate(CheckHandshake, "%d bytes were sent before the switch to deflate", n)
	}
	c.r = bufio.NewReaderSize(inflater{flate.NewReader(c.r)}, maxLine)
	c.enqueue(chunk{deflate: level})
	c.respond("OK")
}

// executeAuth is nsqd with an auth server that knows one secret.
func (c *ServerConn) executeAuth(cmd Command) *fault {
	switch secret := c.server.cfg.secret; {
	case c.channel != nil:
		return faultf(CheckHandshake, "E_INVALID cannot AUTH in current state")
	case !c.authRequired:
		return faultf(CheckHandshake, "E_AUTH_DISABLED AUTH disabled")
	case c.authorized:
		return faultf(CheckHandshake, "E_INVALID AUTH already set")
	case secret != "" && secret != string(cmd.Body):
		c.sendError("E_AUTH_FAILED AUTH failed") // no violation: a test may want this
		return nil
	}
	c.authorized = true
	c.respond(`{"identity":"nsqxtest","identity_url":"","permission_count":1}`)
	return nil
}

// authorize returns a fault if cmd needs AUTH and the client is not authorized.
func (c *ServerConn) authorize(cmd Command) *fault {
	if c.authRequired && !c.authorized {
		return faultf(CheckHandshake, "E_AUTH_FIRST AUTH required before %s", cmd.Name)
	}
	return nil
}
