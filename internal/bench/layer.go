package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/s2"
)

// The layers between the protocol and TCP. The sender and the bare loop use klauspost's
// compression, as nsqx does, so figures compare clients and not libraries.
const (
	plain        = "plain"
	layerTLS     = "tls"
	layerSnappy  = "snappy"
	layerDeflate = "deflate"

	// deflateLevel is nsqd's default.
	deflateLevel = 6

	// snappyBlock is nsqd's block size, and maxSnappyBlock the format's maximum.
	snappyBlock    = 16 << 10
	maxSnappyBlock = 64 << 10
)

func layers() []string { return []string{plain, layerTLS, layerSnappy, layerDeflate} }

// identity returns nsqd's answer to an IDENTIFY that requests one layer.
func identity(layer string) string {
	return fmt.Sprintf(`{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":%t,`+
		`"deflate":%t,"deflate_level":%d,"max_deflate_level":6,"snappy":%t,"sample_rate":0,"auth_required":false,`+
		`"output_buffer_size":16384,"output_buffer_timeout":250}`,
		layer == layerTLS, layer == layerDeflate, deflateLevel, layer == layerSnappy)
}

// stream is a connection over a layer. Each Write is flushed.
type stream struct {
	io.Reader
	io.Writer
}

// clientStream starts the client's end of a layer, serverStream the sender's.
func clientStream(conn net.Conn, layer string) (stream, error) {
	if layer == layerTLS {
		secure := tls.Client(conn, insecureTLS())
		return stream{secure, secure}, secure.Handshake()
	}
	return compressed(conn, layer)
}

func serverStream(conn net.Conn, layer string) (stream, error) {
	if layer != layerTLS {
		return compressed(conn, layer)
	}
	certificate, err := certify()
	if err != nil {
		return stream{}, err
	}
	secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
	return stream{secure, secure}, secure.Handshake()
}

func compressed(conn net.Conn, layer string) (stream, error) {
	switch layer {
	case layerSnappy:
		w := s2.NewWriter(conn, s2.WriterSnappyCompat(), s2.WriterBlockSize(snappyBlock), s2.WriterConcurrency(1))
		return stream{s2.NewReader(conn, s2.ReaderMaxBlockSize(maxSnappyBlock)), flushing{w}}, nil
	case layerDeflate:
		w, err := flate.NewWriter(conn, deflateLevel)
		return stream{flate.NewReader(conn), flushing{w}}, err
	default:
		return stream{conn, conn}, nil
	}
}

// flushing flushes after each write.
type flushing struct {
	compressor interface {
		io.Writer
		Flush() error
	}
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.compressor.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.compressor.Flush()
}

// insecureTLS accepts any certificate: the sender makes its own.
func insecureTLS() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func certify() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
