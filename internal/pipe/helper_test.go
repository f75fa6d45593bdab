package pipe_test

import (
	"errors"
	"io"
	"net"
	"testing"
)

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func wantRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(r, buf); err != nil || string(buf) != want {
		t.Errorf("read %q, %v; want %q", buf, err, want)
	}
}

func mustWrite(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if n, err := io.WriteString(w, s); n != len(s) || err != nil {
		t.Fatalf("write %q: %d, %v", s, n, err)
	}
}

func readErr(c net.Conn) error  { _, err := c.Read(make([]byte, 1)); return err }
func writeErr(c net.Conn) error { _, err := c.Write([]byte("x")); return err }
