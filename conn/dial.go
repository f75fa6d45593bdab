package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/nsqx/nsqx/internal/guard"
)

const unixScheme = "unix://"

// CheckAddress returns a [*net.AddrError] unless addr can be dialled: "host:port", or "unix://" and
// an absolute path.
func CheckAddress(addr string) error {
	_, _, err := splitAddress(addr)
	return err
}

func splitAddress(addr string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(addr, unixScheme); ok {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "\x00") {
			return "", "", &net.AddrError{Err: "want unix:///path", Addr: addr}
		}
		return "unix", path, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return "", "", &net.AddrError{Err: "want host:port or unix:///path", Addr: addr}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", &net.AddrError{Err: "want a port of 1 to 65535", Addr: addr}
	}
	if !isHost(host) {
		return "", "", &net.AddrError{Err: "want an IP address or the name of a host", Addr: addr}
	}
	return "tcp", addr, nil
}

// isHost accepts underscores because container names have them. Other scripts must be in ASCII form
// (xn--…).
func isHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return !strings.ContainsFunc(ip.Zone(), unicode.IsControl)
	}
	const most, mostOfLabel = 253, 63
	host = strings.TrimSuffix(host, ".")
	if len(host) > most {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > mostOfLabel || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInHost) {
			return false
		}
	}
	return true
}

func notInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

func dial(ctx context.Context, addr string, cfg *Config) (net.Conn, error) {
	network, address, err := splitAddress(addr)
	if err != nil {
		return nil, err
	}
	dctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	nc, err := guard.IsolateValue(func() (net.Conn, error) { return cfg.DialContext(dctx, network, address) })
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ended(ctx)
	case err != nil:
		return nil, err
	case nc == nil:
		return nil, errors.New("conn.Config.DialContext returned neither a connection nor an error")
	}
	return nc, nil
}

func tlsConfig(cfg *tls.Config, addr string) *tls.Config {
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	// One record a write: small first records only help to render pages.
	cfg.DynamicRecordSizingDisabled = true
	if cfg.KeyLogWriter != nil {
		cfg.KeyLogWriter = keyLogWriter{cfg.KeyLogWriter}
	}
	if cfg.ServerName == "" {
		// A socket path has no host: the caller must set ServerName.
		if host, _, err := net.SplitHostPort(addr); err == nil && !strings.HasPrefix(addr, unixScheme) {
			cfg.ServerName = host
		}
	}
	return cfg
}

// keyLogWriter survives a Write that panics or calls runtime.Goexit: crypto/tls holds a lock of the
// whole process meanwhile, and would keep it.
type keyLogWriter struct{ io.Writer }

func (w keyLogWriter) Write(p []byte) (int, error) {
	return guard.IsolateValue(func() (int, error) { return w.Writer.Write(p) })
}
