package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/conn"
)

// servers are the flags that all commands share.
type servers struct {
	Lookupd  []string      `help:"HTTP address of an nsqlookupd, host:port; may be repeated." env:"NSQX_LOOKUPD" placeholder:"ADDR"`
	NSQD     []string      `name:"nsqd" help:"Address of an nsqd for clients, which answers HTTP at the port above; may be repeated." env:"NSQX_NSQD" placeholder:"ADDR"`
	NSQDHTTP []string      `name:"nsqd-http" help:"HTTP address of an nsqd; may be repeated." env:"NSQX_NSQD_HTTP" placeholder:"ADDR"`
	Timeout  time.Duration `help:"Of each HTTP request, and of connecting." default:"5s" env:"NSQX_HTTP_TIMEOUT"`
	Total    time.Duration `name:"total-timeout" help:"Of the HTTP requests to all servers together; those that are not asked by then are left out." default:"1m" env:"NSQX_HTTP_TOTAL_TIMEOUT"`

	TLS        bool   `help:"Connect to nsqds with TLS." env:"NSQX_TLS"`
	RootCA     string `name:"tls-root-ca-file" help:"Certificates that sign those of nsqds." env:"NSQX_TLS_ROOT_CA_FILE" type:"path" placeholder:"FILE"`
	Cert       string `name:"tls-cert" help:"Certificate of this client." env:"NSQX_TLS_CERT" type:"path" placeholder:"FILE"`
	Key        string `name:"tls-key" help:"Its key." env:"NSQX_TLS_KEY" type:"path" placeholder:"FILE"`
	ServerName string `name:"tls-server-name" help:"Name in the certificates of nsqds." env:"NSQX_TLS_SERVER_NAME" placeholder:"NAME"`
	SecretFile string `name:"auth-secret-file" help:"File with the secret for AUTH." env:"NSQX_AUTH_SECRET_FILE" type:"path" placeholder:"FILE"`
	Plaintext  bool   `name:"allow-plaintext-auth" help:"Send the secret without TLS, too." env:"NSQX_ALLOW_PLAINTEXT_AUTH"`
}

// tls returns the configuration of TLS, nil for none.
func (s *servers) tls() (*tls.Config, error) {
	if !s.TLS && s.RootCA == "" && s.Cert == "" && s.ServerName == "" {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: s.ServerName}
	if s.RootCA != "" {
		pem, err := os.ReadFile(s.RootCA)
		if err != nil {
			return nil, usage("--tls-root-ca-file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage("--tls-root-ca-file: %s has no certificate", s.RootCA)
		}
	}
	if s.Cert != "" {
		cert, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, usage("--tls-cert, --tls-key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// maxMessage is the largest body that is shown or moved.
const maxMessage = 64 << 20

// conn returns the configuration of connections to nsqds.
func (s *servers) conn() (conn.Config, error) {
	cfg := conn.Config{
		AllowPlaintextAuth: s.Plaintext, MaxMessageSize: maxMessage, MaxBodySize: maxMessage + 1024,
		OutputBufferTimeout: 25 * time.Millisecond, UserAgent: "nsqx-command/" + nsqx.Version,
		DialTimeout: s.Timeout, HandshakeTimeout: s.Timeout,
	}
	var err error
	if cfg.TLS, err = s.tls(); err != nil {
		return cfg, err
	}
	if s.SecretFile != "" {
		cfg.AuthSecret = func(context.Context) (string, error) {
			secret, err := os.ReadFile(s.SecretFile)
			return strings.TrimRight(string(secret), "\r\n"), err
		}
	}
	return cfg, nil
}

func (s *servers) cluster() (*admin.Cluster, error) {
	if len(s.Lookupd)+len(s.NSQD)+len(s.NSQDHTTP) == 0 {
		return nil, usage("no server is named: use --lookupd, --nsqd or NSQX_LOOKUPD, NSQX_NSQD")
	}
	tlsConfig, err := s.tls()
	if err != nil {
		return nil, err
	}
	if s.Timeout < time.Millisecond || s.Total < s.Timeout {
		return nil, usage("--timeout is %v, want at least 1ms; --total-timeout is %v, want at least that", s.Timeout, s.Total)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: tlsConfig, MaxResponseHeaderBytes: 64 << 10}
	return &admin.Cluster{
		Lookupds: s.Lookupd, NSQDs: s.NSQD, HTTP: s.NSQDHTTP, Parallel: maxParallel,
		Config: admin.Config{HTTPClient: &http.Client{Transport: transport, Timeout: s.Timeout}},
	}, nil
}
