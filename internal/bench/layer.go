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

// What lies between the protocol and TCP. Compression is klauspost's for the sender and the bare loop, as it is for nsqx: what
// differs is then the client, not the library.
const (
	plain        = "plain"
	layerTLS     = "tls"
	layerSnappy  = "snappy"
	layerDeflate = "deflate"

	// deflateLevel is nsqd's default.
	deflateLevel = 6

	// snappyBlock is what nsqd compresses at a time, and maxSnappyBlock what the format allows.
	snappyBlock    = 16 << 10
	maxSnappyBlock = 64 << 10
)

func layers() []string { return []string{plain, layerTLS, layerSnappy, layerDeflate} }

// identity is nsqd's answer to IDENTIFY when asked for one layer.
func identity(layer string) string {
	return fmt.Sprintf(`{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":%t,`+
		`"deflate":%t,"deflate_level":%d,"max_deflate_level":6,"snappy":%t,"sample_rate":0,"auth_required":false,`+
		`"output_buffer_size":16384,"output_buffer_timeout":250}`,
		layer == layerTLS, layer == layerDeflate, deflateLevel, layer == layerSnappy)
}

// stream is a connection over a layer: what one Write takes can be read at once.
type stream struct {
	io.Reader
	io.Writer
}

// near is the client's end of a layer, far is the sender's.
func near(conn net.Conn, layer string) (stream, error) {
	if layer == layerTLS {
		secure := tls.Client(conn, trusting())
		return stream{secure, secure}, secure.Handshake()
	}
	return compressed(conn, layer)
}

func far(conn net.Conn, layer string) (stream, error) {
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

// flushing keeps nothing back.
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

// trusting takes any certificate: the sender makes its own.
func trusting() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func certify() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
