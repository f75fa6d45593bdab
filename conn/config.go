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

// Config is the environment's part of the wire: how to reach an nsqd, and what a connection to it must be like. The zero
// value is ready to use and means the documented defaults.
//
// A Config is copied and never changed, so one may be shared by all consumers and producers of a service. Printed, logged or
// encoded as JSON it shows its settings, but neither a secret nor what is in TLS.
type Config struct {
	// TLS, if set, is required: an nsqd without TLS is refused before AUTH is sent (ErrNoTLS). At least TLS 1.2 is spoken. The
	// config is cloned for each connection, and ServerName, where it is empty, is the host of the address. Client
	// certificates go here too. Defaults to nil: no TLS.
	TLS *tls.Config

	// AuthSecret returns the secret for AUTH. It is called at each connect to an nsqd that asks for AUTH, so that a rotated
	// secret is used from the next connect on, and may be called concurrently. It must return when ctx ends, which
	// is when the handshake times out at the latest. A secret has 1 to 65536 bytes. Defaults to nil: an nsqd that asks for
	// AUTH is refused (ErrAuthRequired).
	AuthSecret func(ctx context.Context) (string, error)

	// AllowPlaintextAuth lets the secret be sent over a connection without TLS. Defaults to false: an nsqd that asks for
	// AUTH there is refused (ErrPlaintextAuth).
	AllowPlaintextAuth bool

	// RequireAuth refuses an nsqd that does not ask for AUTH (ErrAuthNotRequired). Defaults to false: a secret that nobody asks
	// for is not sent.
	RequireAuth bool

	// Compression is used in both directions, inside TLS if there is any. Defaults to NoCompression.
	Compression Compression

	// DeflateLevel is the effort that Deflate takes, 1 (fastest) to 6: nsqd's, which its --max-deflate-level may lower, and that of
	// a publishing connection, which takes about 1 MB for it. Defaults to 6.
	DeflateLevel int

	// CompressionOptional goes on without compression where nsqd does not offer it. Defaults to false: such an nsqd is refused
	// (ErrNoCompression).
	CompressionOptional bool

	// DialTimeout bounds connecting, 1 ms to 1 h. Defaults to 5 s.
	DialTimeout time.Duration

	// HandshakeTimeout bounds everything from the connect to the answer to SUB, the TLS handshake and AuthSecret included, 1 ms
	// to 1 h. Defaults to 10 s.
	HandshakeTimeout time.Duration

	// HeartbeatInterval is how often nsqd sends a heartbeat, 1 s to 60 s, in whole milliseconds. A connection on which nothing
	// has arrived for two of them is dead. Defaults to 30 s.
	HeartbeatInterval time.Duration

	// OutputBufferSize is the size in bytes of the buffer in which nsqd collects messages for this connection, 64 to 65536. -1
	// turns the buffer off, and its timeout with it. Defaults to nsqd's own, which is 16384 unless it was started with another.
	OutputBufferSize int

	// OutputBufferTimeout is how long nsqd may hold messages in that buffer, 25 ms to 30 s, in whole milliseconds. -1 turns the
	// timeout off: nsqd then holds them until the buffer, or the connection's RDY, is full. Defaults to nsqd's own, which
	// is 250 ms unless it was started with another. nsqd counts a message's timeout from before it lies there, so a
	// subscription refuses more than a quarter of the message timeout, and a consumer refuses -1.
	OutputBufferTimeout time.Duration

	// MaxMessageSize is the size in bytes of the largest message body that is accepted, 1 to 1 GiB. A connection on which a
	// larger one arrives is closed. Defaults to 1 MiB, as nsqd's --max-msg-size does.
	MaxMessageSize int

	// MaxBodySize is the size in bytes of the largest MPUB that nsqd takes, with 4 bytes for its count and 4 for the length of
	// each message, 1 to 1 GiB. Defaults to 5 MiB, as nsqd's --max-body-size does.
	MaxBodySize int

	// MaxDelay is the longest delay with which nsqd takes a message (DPUB), 1 ms to 8760 h. Defaults to 1 h, as nsqd's
	// --max-req-timeout does.
	MaxDelay time.Duration

	// PublishTimeout is how long nsqd may take to answer a publish before the connection is given up, 1 ms to 1 h. What was not
	// answered is unconfirmed then. Defaults to 30 s.
	PublishTimeout time.Duration

	// ClientID and Hostname name this client in nsqd's statistics and logs, in at most 255 bytes each. They default to the host
	// name up to its first dot, and to the host name.
	ClientID, Hostname string

	// UserAgent names this program in nsqd's statistics, in at most 255 bytes. Defaults to "nsqx/" and the version.
	UserAgent string

	// TopologyRegion and TopologyZone say where this client runs, in at most 255 bytes each, to an nsqd that prefers consumers
	// near to it (nsqd after 1.3.0; earlier ones ignore them). Default to "": not said.
	TopologyRegion, TopologyZone string

	// DialContext connects. network is "tcp" with a host:port, or "unix" with a path. It must return when ctx ends, and may be
	// called concurrently. The connection must unblock its Read and Write when it is closed, and should have
	// CloseWrite() error, without which a drain cannot prove that nsqd has read everything. Defaults to that of a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Subscription is what a consumer adds to a connection. A connection without one publishes.
type Subscription struct {
	// Topic and Channel are what to subscribe to: 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-', of which the last ten
	// may be "#ephemeral".
	Topic, Channel string

	// MessageTimeout is how long a delivery may stay unanswered before nsqd gives it to another consumer, 1 s to 15 min, in
	// whole milliseconds. Defaults to nsqd's own, which is 60 s unless it was started with another.
	MessageTimeout time.Duration

	// SampleRate is the percentage of the channel's messages that are delivered, 1 to 99. What is skipped is gone for the whole
	// channel. Defaults to 0: all of them.
	SampleRate int

	// FixedRDY keeps RDY at all that the connection may have in flight, instead of what it can use. nsqd then holds messages
	// of a quiet topic back for up to its output-buffer-timeout. Defaults to false.
	FixedRDY bool
}

// Compression is a way to compress a connection.
type Compression uint8

// What nsqd can do. Deflate costs both sides far more CPU than Snappy, for less bandwidth.
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

// withDefaults fills in what is not set.
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
			host = "unknown" // the names are for people who read statistics: not worth failing for
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
