package conn

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/s2"
)

const (
	// maxSnappyBlock is the largest decoded chunk in the snappy framing format.
	maxSnappyBlock = 64 << 10
	// snappyBlock is also nsqd's block size, unless a larger output buffer is requested.
	snappyBlock = 16 << 10
	// keepBuffer is the capacity of the largest output buffer that is reused.
	keepBuffer = 64 << 10
)

type compressor interface {
	io.WriteCloser
	Flush() error
}

// stateless keeps no state between writes and so flushes each one.
type stateless struct{ io.WriteCloser }

func (stateless) Flush() error { return nil }

// compressedWriter makes one Write to out of each Write.
type compressedWriter struct {
	z   compressor // into buf
	buf *bytes.Buffer
	out io.Writer
}

func (w *compressedWriter) Write(p []byte) (int, error) {
	if _, err := w.z.Write(p); err != nil {
		return 0, err
	}
	if err := w.z.Flush(); err != nil {
		return 0, err
	}
	if err := w.send(); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *compressedWriter) send() error {
	_, err := w.out.Write(w.buf.Bytes())
	w.buf.Reset()
	if w.buf.Cap() > keepBuffer {
		*w.buf = bytes.Buffer{}
	}
	return err
}

// end writes the end of the compressed stream.
func (w *compressedWriter) end() error {
	if err := w.z.Close(); err != nil {
		return err
	}
	return w.send()
}

// snappyReader distinguishes a truncated stream, which nsqd may cause when it closes, from a
// corrupt one. s2 does not.
type snappyReader struct {
	z     *s2.Reader
	below *endReader
}

func (r *snappyReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	if err == s2.ErrCorrupt && r.below.ended {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

type endReader struct {
	r     io.Reader
	ended bool
}

func (e *endReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		e.ended = true
	}
	return n, err
}

func (t *transport) useSnappy() {
	buf := new(bytes.Buffer)
	z := s2.NewWriter(buf, s2.WriterSnappyCompat(), s2.WriterBlockSize(snappyBlock), s2.WriterConcurrency(1))
	below := &endReader{r: t.r}
	t.r = &snappyReader{s2.NewReader(below, s2.ReaderMaxBlockSize(maxSnappyBlock), s2.ReaderAllocBlock(snappyBlock)), below}
	t.w = &compressedWriter{z: z, buf: buf, out: t.nc}
}

// useDeflate puts deflate over the transport. Level 0 is stateless: state does not help short
// commands, and every other level keeps about 1 MB of it.
func (t *transport) useDeflate(level int) error {
	buf := new(bytes.Buffer)
	var z compressor = stateless{flate.NewStatelessWriter(buf)}
	if level > 0 {
		var err error
		if z, err = flate.NewWriter(buf, level); err != nil {
			return err
		}
	}
	w := &compressedWriter{z: z, buf: buf, out: t.nc}
	below := t.closeWrite
	if t.resp.TLS {
		// nsqd closes at the end of the deflate stream. A TLS alert would meet a closed socket, and
		// the reset would discard unread input.
		below = func() error { return nil }
	}
	t.r, t.w = flate.NewReader(t.r), w
	t.closeWrite = func() error {
		if err := w.end(); err != nil {
			return err
		}
		return below()
	}
	return nil
}
