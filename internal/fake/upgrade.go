package fake

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

// UpgradeTLS does the server's side of a TLS handshake and then writes OK. A failed handshake
// fails no test, since a client may have to refuse: UpgradeTLS returns the error, and later reads
// and writes fail with it.
func (p *Peer) UpgradeTLS(cfg *tls.Config) error {
	p.tb.Helper()
	if !p.noEarlyBytes("TLS") {
		return p.readErr
	}
	conn := tls.Server(p.Conn, cfg)
	if err := conn.Handshake(); err != nil {
		p.readErr, p.writeErr = err, err
		return err
	}
	p.setLayer(conn, conn)
	p.top = conn
	p.Response("OK")
	return nil
}

// UpgradeSnappy switches to snappy, over TLS if that came before, and writes OK.
func (p *Peer) UpgradeSnappy() {
	p.tb.Helper()
	if p.noEarlyBytes("snappy") {
		w := s2.NewWriter(p.top, s2.WriterSnappyCompat(), s2.WriterConcurrency(1)) // 1: without goroutines
		p.setLayer(snappy.NewReader(p.top), w)
		p.Response("OK")
	}
}

// UpgradeDeflate switches to deflate of level 6, over TLS if that came before, and writes OK.
func (p *Peer) UpgradeDeflate() {
	p.tb.Helper()
	if p.noEarlyBytes("deflate") {
		w, _ := flate.NewWriter(p.top, flate.DefaultCompression) // fails only for unknown levels
		p.setLayer(deflateReader{flate.NewReader(p.top)}, w)
		p.Response("OK")
	}
}

// setLayer reads from r and writes to w from now on.
func (p *Peer) setLayer(r io.Reader, w io.Writer) {
	p.r, p.w = bufio.NewReaderSize(r, maxLine), w
}

// noEarlyBytes fails the test if the client has sent bytes before the upgrade: nsqd would lose
// them.
func (p *Peer) noEarlyBytes(layer string) bool {
	p.tb.Helper()
	if p.readErr == nil && p.r.Buffered() > 0 {
		p.failf("%d bytes came before the upgrade to %s", p.r.Buffered(), layer)
	}
	return p.readErr == nil
}

// deflateReader returns io.EOF for a stream without a final block, as most clients leave it.
type deflateReader struct{ io.Reader }

func (d deflateReader) Read(b []byte) (int, error) {
	n, err := d.Reader.Read(b)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}
