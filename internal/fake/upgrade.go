package fake

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

// UpgradeTLS does the server's side of a TLS handshake and sends OK over it. A failed handshake fails no test (a client
// may have to refuse): it is returned, and reads and writes fail with it from then on.
func (p *Peer) UpgradeTLS(cfg *tls.Config) error {
	p.tb.Helper()
	if !p.nothingAhead("TLS") {
		return p.readErr
	}
	conn := tls.Server(p.Conn, cfg)
	if err := conn.Handshake(); err != nil {
		p.readErr, p.writeErr = err, err
		return err
	}
	p.over(conn, conn)
	p.top = conn
	p.Response("OK")
	return nil
}

// UpgradeSnappy sends OK over snappy, which goes over TLS if that came before.
func (p *Peer) UpgradeSnappy() {
	p.tb.Helper()
	if p.nothingAhead("snappy") {
		w := s2.NewWriter(p.top, s2.WriterSnappyCompat(), s2.WriterConcurrency(1)) // 1: no goroutine
		p.over(snappy.NewReader(p.top), w)
		p.Response("OK")
	}
}

// UpgradeDeflate sends OK over deflate of level 6, which goes over TLS if that came before.
func (p *Peer) UpgradeDeflate() {
	p.tb.Helper()
	if p.nothingAhead("deflate") {
		w, _ := flate.NewWriter(p.top, flate.DefaultCompression) // fails for unknown levels only
		p.over(deflateReader{flate.NewReader(p.top)}, w)
		p.Response("OK")
	}
}

func (p *Peer) over(r io.Reader, w io.Writer) {
	p.r, p.w = bufio.NewReaderSize(r, maxLine), w
}

// nothingAhead fails the test if the client has sent something before the upgrade that it should have sent after it:
// nsqd would lose it.
func (p *Peer) nothingAhead(layer string) bool {
	p.tb.Helper()
	if p.readErr == nil && p.r.Buffered() > 0 {
		p.failf("%d bytes came before the upgrade to %s", p.r.Buffered(), layer)
	}
	return p.readErr == nil
}

// deflateReader takes an end without a final block for an end: most clients leave it so.
type deflateReader struct{ io.Reader }

func (d deflateReader) Read(b []byte) (int, error) {
	n, err := d.Reader.Read(b)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}
