package settings

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/override"
)

// connection collects the settings of connections.
type connection struct {
	cfg       conn.Config
	connGiven bool // cfg has a setting
	tls       map[string]string
}

// setTLS keeps a setting until all of them are known.
func setTLS(b *builder, k *key, value string) error {
	if b.tls == nil {
		b.tls = make(map[string]string)
	}
	b.tls[k.name] = value
	return nil
}

// finishConn makes the option of all settings of connections.
func (b *builder) finishConn() {
	if err := b.makeTLS(); err != nil {
		b.fault(err.Error())
	}
	probe := b.cfg // with what defaults may add
	if probe.Compression == conn.NoCompression {
		probe.Compression = conn.Deflate
	}
	probe.AllowPlaintextAuth = true
	probe.AuthSecret = func(context.Context) (string, error) { return "", nil }
	walk(probe.Validate(), func(e *conn.ConfigError) {
		i := slices.IndexFunc(table, func(k key) bool { return k.option == e.Field })
		b.name = table[i].name
		b.fault(e.Reason)
	})
	if b.connGiven {
		o := nsqx.WithConn(b.cfg)
		b.consumer, b.producer = append(b.consumer, o), append(b.producer, o)
	}
	if len(b.off) > 0 {
		o := nsqx.WithDiscoverer(&override.Off{Names: b.off})
		b.consumer, b.producer = append(b.consumer, o), append(b.producer, o)
	}
}

// makeTLS makes the configuration of TLS.
func (b *builder) makeTLS() error {
	if len(b.tls) == 0 {
		return nil
	}
	on, err := boolean(b.tls["tls"])
	switch {
	case b.tls["tls"] == "":
		return errors.New("is missing, want tls=true beside other settings for TLS")
	case err != nil:
		return err
	case !on && len(b.tls) > 1:
		return errors.New("is false, want true beside other settings for TLS")
	case !on:
		b.off = append(b.off, "conn.Config.TLS")
		return nil
	}
	cfg := &tls.Config{ServerName: b.tls["tls_server_name"]}
	b.cfg.TLS, b.connGiven = cfg, true
	if v := b.tls["tls_min_version"]; v != "" {
		versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13, "tls1.2": tls.VersionTLS12, "tls1.3": tls.VersionTLS13}
		if cfg.MinVersion = versions[v]; cfg.MinVersion == 0 {
			return fmt.Errorf("has tls_min_version %.64q, want 1.2 or 1.3", v)
		}
	}
	if v := b.tls["tls_insecure_skip_verify"]; v != "" {
		if cfg.InsecureSkipVerify, err = boolean(v); err != nil {
			return fmt.Errorf("has tls_insecure_skip_verify %.64q, want true or false", v)
		}
	}
	if path := b.tls["tls_root_ca_file"]; path != "" {
		pem, err := readFile(path, 1<<20)
		if err != nil {
			return fmt.Errorf("has tls_root_ca_file %w", err)
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("has tls_root_ca_file %s without a certificate, want PEM", path)
		}
	}
	cert, key := b.tls["tls_cert"], b.tls["tls_key"]
	if (cert == "") != (key == "") {
		return errors.New("has only one of tls_cert and tls_key, want both: paths of PEM files")
	}
	if cert != "" {
		load := func() (*tls.Certificate, error) { // for each connection, so that files may be replaced
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return fmt.Errorf("has a faulty tls_cert or tls_key: %w", err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return nil
}

// maxSecret is the size of the longest secret, in bytes.
const maxSecret = 64 << 10

// setSecret makes AuthSecret read a file, which must be usable now.
func setSecret(b *builder, _ *key, path string) error {
	if _, err := readSecret(path); err != nil {
		return err
	}
	b.connGiven = true
	b.cfg.AuthSecret = func(context.Context) (string, error) {
		secret, err := readSecret(path)
		if err != nil {
			return "", fmt.Errorf("nsqx: settings: auth_secret_file %w", err)
		}
		return secret, nil
	}
	return nil
}

// readSecret returns the contents of a file without line ends at its end.
func readSecret(path string) (string, error) {
	text, err := readFile(path, maxSecret)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s is empty, want a file with the secret", path)
	}
	return secret, nil
}

// readFile reads a regular file of at most max bytes: a pipe could block for ever. Its errors begin
// with the path.
func readFile(path string, max int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if int64(len(text)) > max {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, max)
	}
	return text, nil
}

func unreadable(path string, err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s cannot be read: %w", path, err)
}
