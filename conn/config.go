package conn

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nsqx/nsqx/internal/version"
)

// Config configures connections to nsqd. The zero value is ready to use and selects the documented
// defaults.
//
// A Config is copied and never modified, so all consumers and producers of a service can share one.
// Printed, logged or encoded as JSON it shows its settings, but neither a secret nor the contents
// of TLS.
type Config struct {
	// TLS, if set, is required: an nsqd without TLS is refused before AUTH is sent (ErrNoTLS). The
	// minimum version is TLS 1.2. The config is cloned for each connection, and an empty ServerName
	// is set to the host of the address. Client certificates belong here. Defaults to nil: no TLS.
	TLS *tls.Config

	// AuthSecret returns the secret for AUTH, of 1 to 65536 bytes. It is called for each connection
	// to an nsqd that requires AUTH, so a rotated secret is used from the next connection on. It
	// may be called concurrently and must return when ctx ends, at the latest when the handshake
	// times out. Defaults to nil: an nsqd that requires AUTH is refused (ErrAuthRequired).
	AuthSecret func(ctx context.Context) (string, error)

	// AllowPlaintextAuth permits sending the secret over a connection without TLS. Defaults to
	// false: an nsqd that requires AUTH without TLS is refused (ErrPlaintextAuth).
	AllowPlaintextAuth bool

	// RequireAuth refuses an nsqd that does not require AUTH (ErrAuthNotRequired). Defaults to
	// false: such an nsqd is used, and the secret is not sent.
	RequireAuth bool

	// Compression is used in both directions, inside TLS if there is any. Defaults to
	// NoCompression.
	Compression Compression

	// DeflateLevel is the effort of Deflate, 1 (fastest) to 9. It applies to nsqd, whose
	// --max-deflate-level (6 by default) may lower it, and to a publishing connection, whose compressor needs
	// about 1 MB. Defaults to 6.
	DeflateLevel int

	// CompressionOptional permits a connection without compression if nsqd does not offer it.
	// Defaults to false: such an nsqd is refused (ErrNoCompression).
	CompressionOptional bool

	// DialTimeout bounds connecting, 1 ms to 1 h. Defaults to 5 s.
	DialTimeout time.Duration

	// HandshakeTimeout bounds everything between connecting and the answer to SUB, including the
	// TLS handshake and AuthSecret, 1 ms to 1 h. Defaults to 10 s.
	HandshakeTimeout time.Duration

	// HeartbeatInterval is how often nsqd sends a heartbeat, 1 s to 60 s in whole milliseconds. A
	// connection on which nothing arrives for two intervals is dead. Defaults to 30 s.
	HeartbeatInterval time.Duration

	// OutputBufferSize is the size in bytes of the buffer in which nsqd collects messages for the
	// connection, 64 to 65536. -1 turns off the buffer and its timeout. Defaults to nsqd's setting,
	// which itself defaults to 16384.
	OutputBufferSize int

	// OutputBufferTimeout is how long nsqd may keep messages in that buffer, 25 ms to 30 s in whole
	// milliseconds. -1 turns the timeout off: nsqd then keeps messages until the buffer, or the
	// connection's RDY, is full. Defaults to nsqd's setting, which itself defaults to 250 ms.
	//
	// nsqd's message timeout includes the time in the buffer. A subscription therefore refuses a
	// value above a quarter of the message timeout, and a consumer refuses -1.
	OutputBufferTimeout time.Duration

	// MaxMessageSize is the size in bytes of the largest message body, 1 to 1 GiB. A larger one is
	// not published. One that arrives is not read: the message is delivered without it (see
	// [SizeError]). A body above 256 MiB, and above MaxMessageSize, ends the connection. Defaults to
	// 1 MiB, like nsqd's --max-msg-size.
	MaxMessageSize int

	// MaxBodySize is the size in bytes of the largest MPUB that nsqd accepts, 1 to 1 GiB, including
	// 4 bytes for its count and 4 for the length of each message. Defaults to 5 MiB, like nsqd's
	// --max-body-size.
	MaxBodySize int

	// MaxDelay is the longest delay that nsqd accepts for a message (DPUB), 1 ms to 8760 h.
	// Defaults to 1 h, like nsqd's --max-req-timeout.
	MaxDelay time.Duration

	// PublishTimeout is how long nsqd may take to answer a publish once it is written, 1 ms to 1 h. After that the
	// connection is closed, and unanswered publishes are unconfirmed. Defaults to 30 s.
	PublishTimeout time.Duration

	// ClientID and Hostname name this client in nsqd's statistics and logs, in at most 255 bytes
	// each. ClientID defaults to the host name up to its first dot, Hostname to the host name. A
	// consumer's connections for dead letters add "/dead-letters" to ClientID.
	ClientID, Hostname string

	// UserAgent names this program in nsqd's statistics, in at most 255 bytes. Defaults to "nsqx/"
	// and the version.
	UserAgent string

	// TopologyRegion and TopologyZone tell nsqd where this client runs, in at most 255 bytes each,
	// so that nsqd can prefer consumers nearby. nsqd up to 1.3.0 ignores them. Default to "": not
	// sent.
	TopologyRegion, TopologyZone string

	// DialContext opens the network connection. network is "tcp" and addr a host:port, or "unix"
	// and a path. It must return when ctx ends and may be called concurrently. Closing the
	// connection must unblock its Read and Write. It should have a method CloseWrite() error:
	// without it a graceful close cannot prove that nsqd has read everything. Defaults to the
	// method of a zero [net.Dialer].
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Subscription adds to a connection what a consumer needs. A connection without one publishes.
type Subscription struct {
	// Topic and Channel name the subscription: 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and
	// '-', of which the last ten may be "#ephemeral".
	Topic, Channel string

	// MessageTimeout is how long a delivery may stay unanswered before nsqd requeues it, 1 s to 24 h
	// in whole milliseconds, at most nsqd's --max-msg-timeout. Defaults to nsqd's setting, which itself defaults to 60 s.
	MessageTimeout time.Duration

	// SampleRate is the percentage of the channel's messages that are delivered, 1 to 99. The
	// others are lost for the whole channel. Defaults to 0: all messages.
	SampleRate int

	// MaxRequeueDelay is the longest delay of a REQ: longer ones are cut. Defaults to 0: no limit. An
	// old nsqd needs one (see [RequeueDelayError]).
	MaxRequeueDelay time.Duration

	// FixedRDY keeps RDY at the connection's quota instead of what the connection can use. nsqd
	// then delays messages of a quiet topic by up to its output-buffer-timeout. Defaults to false.
	FixedRDY bool

	// Plain delivers bodies as they are: none is searched for an envelope. Defaults to false.
	Plain bool
}

// Compression is a compression algorithm.
type Compression uint8

// The algorithms that nsqd supports. Deflate costs both sides far more CPU than Snappy and needs
// less bandwidth.
const (
	NoCompression Compression = iota
	Snappy
	Deflate
)

// String returns "none", "snappy" or "deflate".
func (c Compression) String() string {
	switch c {
	case NoCompression:
		return "none"
	case Snappy:
		return "snappy"
	case Deflate:
		return "deflate"
	}
	return "Compression(" + strconv.Itoa(int(c)) + ")"
}

const (
	userAgent = "nsqx/" + version.Version

	defaultDialTimeout       = 5 * time.Second
	defaultHandshakeTimeout  = 10 * time.Second
	defaultHeartbeatInterval = 30 * time.Second
	defaultDeflateLevel      = 6
	defaultMaxMessageSize    = 1 << 20
	defaultMaxBodySize       = 5 << 20
	defaultMaxDelay          = time.Hour
	defaultPublishTimeout    = 30 * time.Second
)

// ConnectTimeout returns how long [Dial] takes at most, if user code obeys its contexts: DialTimeout
// and HandshakeTimeout, with defaults applied.
func (c Config) ConnectTimeout() time.Duration {
	setDefault(&c.DialTimeout, defaultDialTimeout)
	setDefault(&c.HandshakeTimeout, defaultHandshakeTimeout)
	return c.DialTimeout + c.HandshakeTimeout
}

func (c Config) withDefaults() Config {
	setDefault(&c.DialTimeout, defaultDialTimeout)
	setDefault(&c.HandshakeTimeout, defaultHandshakeTimeout)
	setDefault(&c.HeartbeatInterval, defaultHeartbeatInterval)
	c.limitDefaults()
	setDefault(&c.PublishTimeout, defaultPublishTimeout)
	setDefault(&c.UserAgent, userAgent)
	if c.Compression == Deflate {
		setDefault(&c.DeflateLevel, defaultDeflateLevel)
	}
	if c.Hostname == "" || c.ClientID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown" // the names only appear in statistics: not worth failing for
		}
		short, _, _ := strings.Cut(host, ".")
		setDefault(&c.Hostname, host)
		setDefault(&c.ClientID, short)
	}
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	return c
}

func (c *Config) limitDefaults() {
	setDefault(&c.MaxMessageSize, defaultMaxMessageSize)
	setDefault(&c.MaxBodySize, defaultMaxBodySize)
	setDefault(&c.MaxDelay, defaultMaxDelay)
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
