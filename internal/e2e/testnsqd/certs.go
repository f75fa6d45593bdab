package testnsqd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
)

// Authority is a certificate authority with certificates for a server at 127.0.0.1 and for a
// client. All keys are ECDSA P-256.
type Authority struct {
	CAFile string // PEM
	Server Pair
	Client Pair

	tb     testing.TB
	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// Pair is a certificate with its key, as PEM files for nsqd and for a tls.Config.
type Pair struct {
	CertFile string
	KeyFile  string
	Cert     tls.Certificate
}

// NewAuthority makes an authority that nothing trusts yet. A test that needs a wrong one makes two.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{tb: tb, dir: tb.TempDir()}
	template := a.template("nsqx test authority")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign

	key := a.newKey()
	der := a.sign(template, template, key, key)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("testnsqd: parse certificate: %v", err)
	}
	a.cert, a.key = cert, key
	a.CAFile = a.write("ca.pem", "CERTIFICATE", der)

	a.Server = a.Issue("server", nil)
	a.Client = a.Issue("client", nil)
	return a
}

// Issue makes a certificate that is valid for an hour, for 127.0.0.1, for servers and clients.
// change, if not nil, may alter it before it is signed. name is its common name and the name of its
// files.
func (a *Authority) Issue(name string, change func(*x509.Certificate)) Pair {
	a.tb.Helper()
	template := a.template(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	if change != nil {
		change(template)
	}
	key := a.newKey()
	der := a.sign(template, a.cert, key, a.key)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatalf("testnsqd: marshal key: %v", err)
	}
	return Pair{
		CertFile: a.write(name+".pem", "CERTIFICATE", der),
		KeyFile:  a.write(name+".key", "PRIVATE KEY", keyDER),
		Cert:     tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}
}

// ClientConfig returns a client's configuration that trusts only this authority and presents certs.
// The caller may change it.
func (a *Authority) ClientConfig(certs ...Pair) *tls.Config {
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	c.RootCAs.AddCert(a.cert)
	for _, p := range certs {
		c.Certificates = append(c.Certificates, p.Cert)
	}
	return c
}

// Serve is an option for Start: nsqd offers TLS with the server certificate.
func (a *Authority) Serve(o *nsqd.Options) {
	o.TLSCert, o.TLSKey = a.Server.CertFile, a.Server.KeyFile
}

// RequireTLS is an option for Start: nsqd offers TLS and refuses clients without TLS.
func (a *Authority) RequireTLS(o *nsqd.Options) {
	a.Serve(o)
	o.TLSRequired = nsqd.TLSRequiredExceptHTTP
}

// RequireClientCert is an option for Start: nsqd requires TLS and a client certificate of this
// authority.
func (a *Authority) RequireClientCert(o *nsqd.Options) {
	a.RequireTLS(o)
	o.TLSClientAuthPolicy, o.TLSRootCAFile = "require-verify", a.CAFile
}

func (a *Authority) template(name string) *x509.Certificate {
	a.serial++
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(time.Hour),
	}
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatalf("testnsqd: generate key: %v", err)
	}
	return key
}

func (a *Authority) sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	a.tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		a.tb.Fatalf("testnsqd: create certificate: %v", err)
	}
	return der
}

func (a *Authority) write(name, kind string, der []byte) string {
	a.tb.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.tb.Fatalf("testnsqd: %v", err)
	}
	return path
}
