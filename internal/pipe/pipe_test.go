// Tests of pipe.go and stream.go.

package pipe_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/pipe"
)

func TestPartialReads(t *testing.T) {
	a, b := pipe.New()
	mustWrite(t, a, "hello ")
	mustWrite(t, a, "world")
	if n, err := b.Read(nil); n != 0 || err != nil {
		t.Errorf("empty read: %d, %v", n, err)
	}
	wantRead(t, b, "hel")
	buf := make([]byte, 100)
	if n, err := b.Read(buf); string(buf[:n]) != "lo world" || err != nil {
		t.Errorf("read %q, %v; want the rest at once", buf[:n], err)
	}
	mustWrite(t, b, "back")
	wantRead(t, a, "back")
}

func TestAddresses(t *testing.T) {
	a, b := pipe.New()
	for _, addr := range []net.Addr{a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr()} {
		if addr.Network() != "pipe" || addr.String() == "" {
			t.Errorf("address %q of network %q", addr, addr.Network())
		}
	}
	if a.LocalAddr() != b.RemoteAddr() || a.RemoteAddr() != b.LocalAddr() || a.LocalAddr() == a.RemoteAddr() {
		t.Error("the ends do not agree on their addresses")
	}
}

func TestHalfClose(t *testing.T) {
	a, b := pipe.New()
	mustWrite(t, a, "last words")
	for range 2 {
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "write after CloseWrite", writeErr(a), syscall.EPIPE)
	wantRead(t, b, "last words")
	for range 2 {
		if err := readErr(b); err != io.EOF {
			t.Errorf("read after half-close: %v, want io.EOF itself", err)
		}
	}
	mustWrite(t, b, "still here")
	wantRead(t, a, "still here")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := readErr(a); err != io.EOF {
		t.Errorf("read after the peer's close: %v", err)
	}
}

func TestClose(t *testing.T) {
	a, b := pipe.New()
	mustWrite(t, a, "written")
	mustWrite(t, b, "never read")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for what, err := range map[string]error{
		"read": readErr(a), "write": writeErr(a), "CloseWrite": a.CloseWrite(), "Close": a.Close(),
		"SetDeadline": a.SetDeadline(now), "SetReadDeadline": a.SetReadDeadline(now), "SetWriteDeadline": a.SetWriteDeadline(now),
	} {
		wantErr(t, what, err, net.ErrClosed)
	}
	wantErr(t, "peer's write", writeErr(b), syscall.EPIPE)
	wantRead(t, b, "written")
	if err := readErr(b); err != io.EOF {
		t.Errorf("peer's read: %v, want io.EOF itself", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("peer's close: %v", err)
	}
}

func TestReset(t *testing.T) {
	for name, before := range map[string]func(*pipe.Conn) error{
		"open":        func(*pipe.Conn) error { return nil },
		"half-closed": (*pipe.Conn).CloseWrite,
		"closed":      (*pipe.Conn).Close,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pipe.New()
			mustWrite(t, a, "thrown away")
			if err := before(a); err != nil {
				t.Fatal(err)
			}
			a.Reset()
			wantErr(t, "own read", readErr(a), net.ErrClosed)
			wantErr(t, "own write", writeErr(a), net.ErrClosed)
			wantErr(t, "own close", a.Close(), net.ErrClosed)
			wantErr(t, "peer's read", readErr(b), syscall.ECONNRESET)
			wantErr(t, "peer's write", writeErr(b), syscall.ECONNRESET)
			wantErr(t, "peer's CloseWrite", b.CloseWrite(), syscall.ENOTCONN)
			if err := b.Close(); err != nil {
				t.Errorf("peer's close: %v", err)
			}
		})
	}
}

// Events that wake blocked calls.
func TestWakes(t *testing.T) {
	past := time.Unix(1, 0)
	tests := []struct {
		name        string
		do          func(a, b *pipe.Conn)
		read, write error // of a; nil if the call stays blocked
	}{
		{"own close", func(a, _ *pipe.Conn) { _ = a.Close() }, net.ErrClosed, net.ErrClosed},
		{"own reset", func(a, _ *pipe.Conn) { a.Reset() }, net.ErrClosed, net.ErrClosed},
		{"own half-close", func(a, _ *pipe.Conn) { _ = a.CloseWrite() }, nil, syscall.EPIPE},
		{"peer's close", func(_, b *pipe.Conn) { _ = b.Close() }, io.EOF, syscall.EPIPE},
		{"peer's half-close", func(_, b *pipe.Conn) { _ = b.CloseWrite() }, io.EOF, nil},
		{"peer's reset", func(_, b *pipe.Conn) { b.Reset() }, syscall.ECONNRESET, syscall.ECONNRESET},
		{"past deadline", func(a, _ *pipe.Conn) { _ = a.SetDeadline(past) }, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
		{"past read deadline", func(a, _ *pipe.Conn) { _ = a.SetReadDeadline(past) }, os.ErrDeadlineExceeded, nil},
		{"past write deadline", func(a, _ *pipe.Conn) { _ = a.SetWriteDeadline(past) }, nil, os.ErrDeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe.New()
				a.SetBuffer(3)
				pending := errors.New("still blocked")
				gotRead, gotWrite, wrote := pending, pending, 0
				go func() { gotRead = readErr(a) }()
				go func() { wrote, gotWrite = a.Write([]byte("12345")) }()
				synctest.Wait()
				tt.do(a, b)
				synctest.Wait()
				if tt.read == nil {
					tt.read = pending
				}
				if tt.write == nil {
					tt.write = pending
				} else if wrote != 3 {
					t.Errorf("wrote %d bytes before the error, want 3", wrote)
				}
				wantErr(t, "read", gotRead, tt.read)
				wantErr(t, "write", gotWrite, tt.write)
				_ = a.Close()
			})
		})
	}
}

func TestDeadlinesExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		after := func(what string, want time.Duration) {
			t.Helper()
			if got := time.Since(start); got != want {
				t.Errorf("%s after %v, want %v", what, got, want)
			}
		}
		a, b := pipe.New()
		defer b.Close()
		defer a.Close()

		_ = a.SetReadDeadline(start.Add(30 * time.Second))
		err := readErr(a)
		wantErr(t, "read", err, os.ErrDeadlineExceeded)
		after("read", 30*time.Second)
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%v is no timeout", err)
		}

		mustWrite(t, b, "x")
		wantErr(t, "read of buffered bytes after the deadline", readErr(a), os.ErrDeadlineExceeded)
		_ = a.SetReadDeadline(time.Time{})
		wantRead(t, a, "x")

		// A deadline that moves while a read is blocked, later or earlier.
		for _, move := range []time.Duration{50 * time.Second, 40 * time.Second} {
			from := time.Since(start)
			_ = a.SetReadDeadline(start.Add(from + 45*time.Second))
			time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(start.Add(from + move)) })
			wantErr(t, "read", readErr(a), os.ErrDeadlineExceeded)
			after("read", from+move)
		}

		// A time without a monotonic reading.
		from := time.Since(start)
		_ = a.SetReadDeadline(time.Now().Round(0).Add(time.Millisecond))
		wantErr(t, "read", readErr(a), os.ErrDeadlineExceeded)
		after("read", from+time.Millisecond)

		from = time.Since(start)
		a.SetBuffer(4)
		_ = a.SetWriteDeadline(start.Add(from + time.Minute))
		n, err := a.Write([]byte("123456"))
		wantErr(t, "write", err, os.ErrDeadlineExceeded)
		after("write", from+time.Minute)
		if n != 4 {
			t.Errorf("wrote %d bytes into a buffer of 4", n)
		}
		wantRead(t, b, "1234")
		wantErr(t, "write to an empty buffer after the deadline", writeErr(a), os.ErrDeadlineExceeded)
		_ = a.SetWriteDeadline(time.Time{})
		mustWrite(t, a, "56")
	})
}

func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New()
		defer b.Close()
		defer a.Close()
		big := bytes.Repeat([]byte("0123456789abcdef"), 10_000) // 160 kB
		wrote := 0
		go func() {
			n, err := a.Write(big)
			if err != nil {
				t.Errorf("write: %v", err)
			}
			wrote = n
		}()
		synctest.Wait()
		if wrote != 0 {
			t.Fatal("the write did not wait for the reader")
		}
		got := make([]byte, 64<<10)
		if n, _ := b.Read(make([]byte, 100_000)); n != len(got) {
			t.Errorf("read %d bytes, want the default buffer of %d", n, len(got))
		}
		rest := make([]byte, len(big)-len(got))
		if _, err := io.ReadFull(b, rest); err != nil || !bytes.Equal(rest, big[len(got):]) {
			t.Errorf("the rest differs (%v)", err)
		}
		synctest.Wait()
		if wrote != len(big) {
			t.Errorf("wrote %d bytes of %d", wrote, len(big))
		}
	})
}

func TestSetBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New()
		defer b.Close()
		a.SetBuffer(2)
		done := false
		go func() { mustWrite(t, a, "abcdef"); done = true }()
		ahead := func(want string) {
			t.Helper()
			synctest.Wait()
			buf := make([]byte, 10)
			if n, err := b.Read(buf); string(buf[:n]) != want || err != nil {
				t.Errorf("read %q, %v; want %q", buf[:n], err, want)
			}
		}
		ahead("ab")
		synctest.Wait()
		if done {
			t.Error("the write got 4 bytes into a buffer of 2")
		}
		a.SetBuffer(0) // the default: wakes the writer
		synctest.Wait()
		if !done {
			t.Error("the write has not returned")
		}
		ahead("cdef")
		mustWrite(t, a, string(make([]byte, 64<<10)))
		a.SetBuffer(10) // below the buffered bytes: none is lost, none is added
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		wantErr(t, "write", writeErr(a), os.ErrDeadlineExceeded)
		_ = a.Close()
		if rest, err := io.ReadAll(b); len(rest) != 64<<10 || err != nil {
			t.Errorf("read %d bytes, %v", len(rest), err)
		}
	})
}

// A deadline also wakes a write that waits for another write.
func TestDeadlineOfWaitingWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New()
		a.SetBuffer(1)
		for range 3 {
			go func() {
				if _, err := a.Write([]byte("xy")); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("write: %v", err)
				}
			}()
		}
		synctest.Wait()
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		time.Sleep(time.Second)
		synctest.Wait()
		_ = a.Close()
		if all, err := io.ReadAll(b); string(all) != "x" || err != nil {
			t.Errorf("read %q, %v; want the first byte of one write", all, err)
		}
	})
}

// The bytes of a write stay together, and none is lost.
func TestConcurrentUse(t *testing.T) {
	work := func(t *testing.T) {
		const writers, writes, size = 4, 200, 100
		a, b := pipe.New()
		a.SetBuffer(70) // less than a write
		var writing, reading sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for range writes {
					mustWrite(t, a, string(bytes.Repeat([]byte{byte('a' + w)}, size)))
				}
			})
			reading.Go(func() {
				for range 100 {
					_ = b.SetReadDeadline(time.Now().Add(time.Hour))
					_ = a.SetWriteDeadline(time.Time{})
				}
			})
		}
		counts := map[byte]int{}
		reading.Go(func() {
			record := make([]byte, size)
			for {
				if _, err := io.ReadFull(b, record); err != nil {
					if err != io.EOF {
						t.Errorf("read: %v", err)
					}
					return
				}
				if !bytes.Equal(record, bytes.Repeat(record[:1], size)) {
					t.Errorf("writes are mixed: %q", record)
				}
				counts[record[0]]++
			}
		})
		writing.Wait()
		_ = a.Close()
		reading.Wait()
		_ = b.Close()
		for w := range writers {
			if n := counts[byte('a'+w)]; n != writes {
				t.Errorf("%d writes of writer %d arrived, want %d", n, w, writes)
			}
		}
	}
	t.Run("real clock", work)
	t.Run("virtual clock", func(t *testing.T) { synctest.Test(t, work) })
}
