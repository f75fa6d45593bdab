package conn

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
)

func (c Config) attrs() []slog.Attr {
	return []slog.Attr{
		slog.Bool("tls", c.TLS != nil),
		slog.Bool("auth_secret", c.AuthSecret != nil),
		slog.Bool("allow_plaintext_auth", c.AllowPlaintextAuth),
		slog.Bool("require_auth", c.RequireAuth),
		slog.String("compression", c.Compression.String()),
		slog.Int("deflate_level", c.DeflateLevel),
		slog.Bool("compression_optional", c.CompressionOptional),
		slog.Duration("dial_timeout", c.DialTimeout),
		slog.Duration("handshake_timeout", c.HandshakeTimeout),
		slog.Duration("heartbeat_interval", c.HeartbeatInterval),
		slog.Int("output_buffer_size", c.OutputBufferSize),
		slog.Duration("output_buffer_timeout", c.OutputBufferTimeout),
		slog.Int("max_message_size", c.MaxMessageSize),
		slog.Int("max_body_size", c.MaxBodySize),
		slog.Duration("max_delay", c.MaxDelay),
		slog.Duration("publish_timeout", c.PublishTimeout),
		slog.String("client_id", c.ClientID),
		slog.String("hostname", c.Hostname),
		slog.String("user_agent", c.UserAgent),
		slog.String("topology_region", c.TopologyRegion),
		slog.String("topology_zone", c.TopologyZone),
		slog.Bool("dial_context", c.DialContext != nil),
	}
}

// LogValue returns the settings as a group. Of TLS, AuthSecret and DialContext it shows only
// whether they are set.
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// String returns the settings that are not zero, with the same omissions as LogValue.
func (c Config) String() string {
	var b strings.Builder
	b.WriteString("conn.Config{")
	sep := ""
	for _, a := range c.attrs() {
		switch a.Value.String() {
		case "", "0", "0s", "false", NoCompression.String():
			continue
		}
		fmt.Fprintf(&b, "%s%s:%q", sep, a.Key, a.Value)
		sep = " "
	}
	b.WriteString("}")
	return b.String()
}

// GoString returns String, so that %#v shows no secret.
func (c Config) GoString() string { return c.String() }

// MarshalJSON encodes the same settings as LogValue, for a service that reports its configuration.
// The result cannot be decoded into a Config.
func (c Config) MarshalJSON() ([]byte, error) {
	m := make(map[string]any)
	for _, a := range c.attrs() {
		if a.Value.Kind() == slog.KindDuration {
			m[a.Key] = a.Value.String()
			continue
		}
		m[a.Key] = a.Value.Any()
	}
	return json.Marshal(m)
}
