package conn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nsqx/nsqx/internal/wire"
)

// identifyRequest is the body of IDENTIFY, with every field of nsqd 1.3.0 and its master branch.
type identifyRequest struct {
	ClientID            string `json:"client_id"`
	Hostname            string `json:"hostname"`
	UserAgent           string `json:"user_agent"`
	FeatureNegotiation  bool   `json:"feature_negotiation"`
	HeartbeatInterval   int64  `json:"heartbeat_interval"`    // ms
	OutputBufferSize    int    `json:"output_buffer_size"`    // bytes; 0: nsqd's default, -1: off
	OutputBufferTimeout int64  `json:"output_buffer_timeout"` // ms; 0: nsqd's default, -1: off
	TLS                 bool   `json:"tls_v1"`
	Snappy              bool   `json:"snappy"`
	Deflate             bool   `json:"deflate"`
	DeflateLevel        int    `json:"deflate_level,omitempty"`
	SampleRate          int    `json:"sample_rate"`
	MsgTimeout          int64  `json:"msg_timeout"` // ms; 0: nsqd's default
	TopologyRegion      string `json:"topology_region,omitempty"`
	TopologyZone        string `json:"topology_zone,omitempty"`
}

func appendIdentify(dst []byte, cfg *Config, sub *Subscription) ([]byte, error) {
	req := identifyRequest{
		ClientID:            cfg.ClientID,
		Hostname:            cfg.Hostname,
		UserAgent:           cfg.UserAgent,
		FeatureNegotiation:  true,
		HeartbeatInterval:   cfg.HeartbeatInterval.Milliseconds(),
		OutputBufferSize:    cfg.OutputBufferSize,
		OutputBufferTimeout: cfg.OutputBufferTimeout.Milliseconds(),
		TLS:                 cfg.TLS != nil,
		Snappy:              cfg.Compression == Snappy,
		Deflate:             cfg.Compression == Deflate,
		DeflateLevel:        cfg.DeflateLevel,
		TopologyRegion:      cfg.TopologyRegion,
		TopologyZone:        cfg.TopologyZone,
	}
	if cfg.OutputBufferTimeout < 0 {
		req.OutputBufferTimeout = -1
	}
	if sub != nil {
		req.SampleRate = sub.SampleRate
		req.MsgTimeout = sub.MessageTimeout.Milliseconds()
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	return wire.AppendIDENTIFY(dst, body), nil
}

type identity struct {
	Version             string
	MaxRdyCount         int64         // at least 1
	MsgTimeout          time.Duration // at least 1 ms, at most MaxMsgTimeout
	MaxMsgTimeout       time.Duration
	SampleRate          int
	TLS                 bool
	Snappy              bool
	Deflate             bool
	AuthRequired        bool
	OutputBufferSize    int64 // bytes
	OutputBufferTimeout time.Duration
}

// identifyAnswer is the raw answer. A missing field means nsqd's default, or false.
type identifyAnswer struct {
	Version             *string `json:"version"`
	MaxRdyCount         *int64  `json:"max_rdy_count"`
	MsgTimeout          *int64  `json:"msg_timeout"`     // ms
	MaxMsgTimeout       *int64  `json:"max_msg_timeout"` // ms
	SampleRate          *int64  `json:"sample_rate"`
	TLS                 *bool   `json:"tls_v1"`
	Snappy              *bool   `json:"snappy"`
	Deflate             *bool   `json:"deflate"`
	DeflateLevel        *int64  `json:"deflate_level"`
	AuthRequired        *bool   `json:"auth_required"`
	OutputBufferSize    *int64  `json:"output_buffer_size"`
	OutputBufferTimeout *int64  `json:"output_buffer_timeout"` // ms
}

const (
	maxVersionLen = 255
	maxCount      = 1<<31 - 1
	maxMillis     = 1<<31 - 1 // 24 days: deadlines computed from it do not overflow
)

func identifyError(field, value, reason string) *AnswerError {
	return &AnswerError{"IDENTIFY", field, value, reason}
}

// parseIdentity parses the answer to IDENTIFY. An nsqd without feature negotiation answers OK.
func parseIdentity(data []byte) (identity, error) {
	var a identifyAnswer
	if string(data) != wire.OK {
		if err := unmarshalAnswer("IDENTIFY", data, &a); err != nil {
			return identity{}, err
		}
	}
	r := answerReader{}
	id := identity{
		Version:             r.text("version", a.Version),
		MaxRdyCount:         r.integer("max_rdy_count", a.MaxRdyCount, 2500, 1, maxCount),
		MsgTimeout:          r.millis("msg_timeout", a.MsgTimeout, time.Minute, 1),
		MaxMsgTimeout:       r.millis("max_msg_timeout", a.MaxMsgTimeout, 15*time.Minute, 1),
		SampleRate:          int(r.integer("sample_rate", a.SampleRate, 0, 0, 99)),
		TLS:                 a.TLS != nil && *a.TLS,
		Snappy:              a.Snappy != nil && *a.Snappy,
		Deflate:             a.Deflate != nil && *a.Deflate,
		AuthRequired:        a.AuthRequired != nil && *a.AuthRequired,
		OutputBufferSize:    r.integer("output_buffer_size", a.OutputBufferSize, 0, -1, maxCount),
		OutputBufferTimeout: r.millis("output_buffer_timeout", a.OutputBufferTimeout, 0, -1),
	}
	r.integer("deflate_level", a.DeflateLevel, 0, 0, 9)
	// nsqd's default timeout may exceed its own maximum. A TOUCH would then shorten it, so the
	// shorter one is safe.
	id.MsgTimeout = min(id.MsgTimeout, id.MaxMsgTimeout)
	return id, r.err
}

// check requires what is configured, and that nothing else is enabled.
func (id *identity) check(cfg *Config, sub *Subscription) error {
	subscribed := sub != nil
	if !subscribed {
		sub = new(Subscription)
	}
	switch {
	case id.TLS && cfg.TLS == nil:
		return identifyError("tls_v1", "true", "TLS was not asked for")
	case id.Snappy && cfg.Compression != Snappy:
		return identifyError("snappy", "true", "snappy was not asked for")
	case id.Deflate && cfg.Compression != Deflate:
		return identifyError("deflate", "true", "deflate was not asked for")
	case id.SampleRate != sub.SampleRate:
		return identifyError("sample_rate", strconv.Itoa(id.SampleRate), fmt.Sprintf("%d was asked for", sub.SampleRate))
	case sub.MessageTimeout != 0 && id.MsgTimeout != sub.MessageTimeout:
		return identifyError("msg_timeout", id.MsgTimeout.String(), fmt.Sprintf("%v was asked for", sub.MessageTimeout))
	case subscribed && cfg.OutputBufferTimeout > 0 && id.OutputBufferTimeout > id.MsgTimeout/4:
		// nsqd's message timeout includes its buffering: an answer in time here could be late at
		// nsqd.
		return identifyError("output_buffer_timeout", id.OutputBufferTimeout.String(),
			fmt.Sprintf("it is more than a quarter of the message timeout, %v", id.MsgTimeout))
	case cfg.TLS != nil && !id.TLS:
		return ErrNoTLS
	case cfg.Compression != NoCompression && !id.Snappy && !id.Deflate && !cfg.CompressionOptional:
		return ErrNoCompression
	case cfg.RequireAuth && !id.AuthRequired:
		return ErrAuthNotRequired
	}
	return nil
}

type authAnswer struct {
	PermissionCount *int64 `json:"permission_count"`
}

func checkAuthAnswer(data []byte) error {
	var a authAnswer
	if err := unmarshalAnswer("AUTH", data, &a); err != nil {
		return err
	}
	switch {
	case a.PermissionCount == nil || *a.PermissionCount > 0:
		return nil
	case *a.PermissionCount == 0:
		return ErrNoPermissions
	}
	return &AnswerError{"AUTH", "permission_count", strconv.FormatInt(*a.PermissionCount, 10), "it is negative"}
}

// unmarshalAnswer ignores unknown fields.
func unmarshalAnswer(command string, data []byte, v any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return &AnswerError{command, "", string(data), "want a JSON object"}
	}
	err := json.Unmarshal(data, v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &AnswerError{command, wrong.Field, wrong.Value, "want a JSON value of type " + wrong.Type.String()}
	}
	if err != nil {
		return &AnswerError{command, "", string(data), err.Error()}
	}
	return nil
}

// answerReader validates values and records the first error.
type answerReader struct{ err error }

func (r *answerReader) fail(field, value, reason string) {
	if r.err == nil {
		r.err = identifyError(field, value, reason)
	}
}

func (r *answerReader) text(field string, v *string) string {
	if v == nil {
		return ""
	}
	if len(*v) > maxVersionLen || !printable(*v) {
		r.fail(field, *v, fmt.Sprintf("want at most %d bytes of text", maxVersionLen))
	}
	return *v
}

func (r *answerReader) integer(field string, v *int64, def, least, most int64) int64 {
	if v == nil {
		return def
	}
	if *v < least || *v > most {
		r.fail(field, strconv.FormatInt(*v, 10), fmt.Sprintf("want %d to %d", least, most))
	}
	return *v
}

func (r *answerReader) millis(field string, v *int64, def time.Duration, least int64) time.Duration {
	ms := r.integer(field, v, def.Milliseconds(), least, maxMillis)
	return time.Duration(ms) * time.Millisecond
}
