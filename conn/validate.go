package conn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nsqx/nsqx/internal/wire"
)

// ConfigError is an invalid setting.
type ConfigError struct {
	Field  string // such as "conn.Config.DialTimeout"
	Reason string // the value and what is allowed
}

// Error names the field and what is allowed.
func (e *ConfigError) Error() string { return "nsqx: " + e.Field + " " + e.Reason }

const maxNameLen = 255

// Validate returns every fault of the configuration, joined. Each is a [*ConfigError] that names
// the field and what is allowed. The zero Config is valid.
func (c Config) Validate() error {
	f := faults{of: "conn.Config."}
	f.duration("DialTimeout", c.DialTimeout, time.Millisecond, time.Hour)
	f.duration("HandshakeTimeout", c.HandshakeTimeout, time.Millisecond, time.Hour)
	f.milliseconds("HeartbeatInterval", c.HeartbeatInterval, time.Second, time.Minute)
	if c.OutputBufferSize != -1 {
		f.integer("OutputBufferSize", c.OutputBufferSize, 64, 64<<10)
	}
	if c.OutputBufferSize == -1 && c.OutputBufferTimeout > 0 {
		f.add("OutputBufferTimeout", "is %v, but OutputBufferSize is -1, which turns both off", c.OutputBufferTimeout)
	}
	if c.OutputBufferTimeout != -1 {
		f.milliseconds("OutputBufferTimeout", c.OutputBufferTimeout, 25*time.Millisecond, 30*time.Second)
	}
	f.integer("MaxMessageSize", c.MaxMessageSize, 1, 1<<30)
	f.integer("MaxBodySize", c.MaxBodySize, 1, 1<<30)
	f.duration("MaxDelay", c.MaxDelay, time.Millisecond, 8760*time.Hour)
	f.duration("PublishTimeout", c.PublishTimeout, time.Millisecond, time.Hour)
	f.name("ClientID", c.ClientID)
	f.name("Hostname", c.Hostname)
	f.name("UserAgent", c.UserAgent)
	f.name("TopologyRegion", c.TopologyRegion)
	f.name("TopologyZone", c.TopologyZone)
	c.validateCompression(&f)
	c.validateTLS(&f)
	c.validateAuth(&f)
	return errors.Join(f.errs...)
}

func (c Config) validateCompression(f *faults) {
	if c.Compression > Deflate {
		f.add("Compression", "is %d: allowed are NoCompression, Snappy and Deflate", uint8(c.Compression))
	}
	f.integer("DeflateLevel", c.DeflateLevel, 1, 9)
	if c.DeflateLevel != 0 && c.Compression != Deflate {
		f.add("DeflateLevel", "is %d, but Compression is %v: it goes with Deflate", c.DeflateLevel, c.Compression)
	}
	if c.CompressionOptional && c.Compression == NoCompression {
		f.add("CompressionOptional", "is set, but Compression is none: it goes with Snappy or Deflate")
	}
}

func (c Config) validateTLS(f *faults) {
	if c.TLS == nil {
		return
	}
	if v := c.TLS.MinVersion; v != 0 && v < tls.VersionTLS12 {
		f.add("TLS", "has MinVersion %s: allowed is at least TLS 1.2", tls.VersionName(v))
	}
	if v := c.TLS.MaxVersion; v != 0 && v < tls.VersionTLS12 {
		f.add("TLS", "has MaxVersion %s: allowed is at least TLS 1.2", tls.VersionName(v))
	}
}

func (c Config) validateAuth(f *faults) {
	if !c.RequireAuth {
		return
	}
	if c.AuthSecret == nil {
		f.add("RequireAuth", "is set, but AuthSecret is not")
	} else if c.TLS == nil && !c.AllowPlaintextAuth {
		f.add("RequireAuth", "is set, but the secret cannot be sent: set TLS, or AllowPlaintextAuth")
	}
}

// Validate returns every fault of the subscription, joined. Each names the setting and what is
// allowed.
func (s Subscription) Validate() error {
	f := faults{of: "conn.Subscription."}
	f.errs = append(f.errs, wire.CheckTopic(s.Topic), wire.CheckChannel(s.Channel))
	f.milliseconds("MessageTimeout", s.MessageTimeout, time.Second, 24*time.Hour)
	f.duration("MaxRequeueDelay", s.MaxRequeueDelay, time.Millisecond, math.MaxInt64)
	f.integer("SampleRate", s.SampleRate, 1, 99)
	return errors.Join(f.errs...)
}

// faults collects errors. 0 is always allowed: it means the default.
type faults struct {
	of   string
	errs []error
}

func (f *faults) add(field, format string, args ...any) {
	f.errs = append(f.errs, &ConfigError{Field: f.of + field, Reason: fmt.Sprintf(format, args...)})
}

func (f *faults) duration(field string, d, least, most time.Duration) {
	if d != 0 && (d < least || d > most) {
		f.add(field, "is %v: allowed is %v to %v, or 0 for the default", d, least, most)
	}
}

// milliseconds checks a duration that is sent in milliseconds: a fraction would be lost silently.
func (f *faults) milliseconds(field string, d, least, most time.Duration) {
	if d != 0 && (d < least || d > most || d%time.Millisecond != 0) {
		f.add(field, "is %v: allowed is %v to %v in whole milliseconds, or 0 for the default", d, least, most)
	}
}

func (f *faults) integer(field string, n, least, most int) {
	if n != 0 && (n < least || n > most) {
		f.add(field, "is %d: allowed is %d to %d, or 0 for the default", n, least, most)
	}
}

func (f *faults) name(field, s string) {
	if len(s) > maxNameLen {
		f.add(field, "has %d bytes: allowed are at most %d", len(s), maxNameLen)
	}
	if !printable(s) {
		f.add(field, "is %.64q: allowed is UTF-8 without control characters", s)
	}
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
