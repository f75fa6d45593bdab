package main

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// deliver passes bodies to an archive as a batch, and reports whether they are finished.
func deliver(t *testing.T, a *archive, bodies ...string) bool {
	t.Helper()
	var all [][]byte
	for _, b := range bodies {
		all = append(all, []byte(b))
	}
	finished := 0
	for _, out := range nsqxtest.DeliverBatch(t, a.consumer, all) {
		if out.Disposition == handler.Finish {
			finished++
		}
	}
	if finished != 0 && finished != len(bodies) {
		t.Errorf("%d of %d messages are finished", finished, len(bodies))
	}
	return finished > 0
}

// open returns an archive of the topic orders at the host h.
func open(t *testing.T, args ...string) *archive {
	t.Helper()
	cfg, err := parse(append([]string{"-topic", "orders", "-host", "h", "-datetime", "150405", "-name", "<TOPIC>.<HOST>.<DATETIME><REV>"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newArchive(cfg, "orders", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRotation: by the time in the name, by size, by age, and by hand. The clock begins at midnight.
func TestRotation(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want map[string]string
	}{
		"time in the name": {nil, map[string]string{
			"orders.h.000000-000000": "a\nb\n", "orders.h.000001-000000": "c\n", "orders.h.000003-000000": "d\n",
		}},
		"size": {[]string{"-rotate-size", "4", "-datetime", "15"}, map[string]string{
			"orders.h.00-000000": "a\nb\n", "orders.h.00-000001": "c\nd\n",
		}},
		"age": {[]string{"-rotate-interval", "3s", "-datetime", "15"}, map[string]string{
			"orders.h.00-000000": "a\nb\nc\n", "orders.h.00-000001": "d\n",
		}},
		"directories": {[]string{"-name", "<TOPIC>/<DATETIME>/<HOST><REV>", "-datetime", "15/04"}, map[string]string{
			"orders/00/00/h-000000": "a\nb\nc\nd\n",
		}},
	} {
		for where, work := range map[string]bool{"": false, " with a work directory": true} {
			t.Run(name+where, func(t *testing.T) {
				dir := t.TempDir()
				args := append([]string{"-dir", dir}, tt.args...)
				if work {
					args = append(args, "-work", t.TempDir())
				}
				synctest.Test(t, func(t *testing.T) {
					a := open(t, args...)
					for _, body := range []string{"a", "b", "c", "", "d"} {
						if body != "" && !deliver(t, a, body) {
							t.Errorf("%s is not finished", body)
						}
						if body != "a" {
							time.Sleep(time.Second)
						}
						a.rotate(false)
					}
					a.rotate(true)
				})
				want(t, dir, tt.want)
				if work {
					want(t, args[len(args)-1], nil)
				}
			})
		}
	}
}

// TestNothingIsOverwritten: a name that exists is left to its owner, whoever made the file, and when.
func TestNothingIsOverwritten(t *testing.T) {
	dir, work := t.TempDir(), t.TempDir()
	write := func(dir, name string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("theirs"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(dir, "orders.h.x-000000")
	a := open(t, "-dir", dir, "-work", work, "-datetime", "x")
	write(work, "orders.h.x-000001")
	deliver(t, a, "a")
	write(dir, "orders.h.x-000002") // between begin and end
	a.rotate(true)
	want(t, work, map[string]string{"orders.h.x-000001": "theirs"})
	open(t, "-dir", dir, "-work", work, "-datetime", "x") // as after a crash
	want(t, work, nil)
	want(t, dir, map[string]string{
		"orders.h.x-000000": "theirs", "orders.h.x-000001": "theirs", "orders.h.x-000002": "theirs", "orders.h~1.x-000002": "a\n",
	})
}

// TestMoveCutShort: a crash between the two steps of a move leaves two names of one file.
func TestMoveCutShort(t *testing.T) {
	dir, work := t.TempDir(), t.TempDir()
	left := filepath.Join(work, "orders.h.x-000000")
	if err := os.WriteFile(left, []byte("a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(left, filepath.Join(dir, "orders.h.x-000000")); err != nil {
		t.Fatal(err)
	}
	open(t, "-dir", dir, "-work", work, "-datetime", "x")
	want(t, work, nil)
	want(t, dir, map[string]string{"orders.h.x-000000": "a\n"})
}

// TestDiskFails: a batch that cannot be written is requeued, and leaves nothing in any file. When the
// disk works again, so does the archive.
func TestDiskFails(t *testing.T) {
	dir := t.TempDir()
	a := open(t, "-dir", dir, "-datetime", "x")
	if !deliver(t, a, "a") {
		t.Error("a is not finished")
	}
	path := a.file.Name()
	fail := func(how string, f *os.File) {
		t.Helper()
		a.file.File.Close()
		a.file.File = f
		if deliver(t, a, "b", "c") {
			t.Error("finished, though the file", how)
		}
		if a.file != nil {
			t.Error("the file goes on, though it", how)
		}
	}
	closed, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	fail("is closed", closed)
	if !deliver(t, a, "d") {
		t.Error("d is not finished")
	}
	readOnly, err := os.Open(a.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	fail("cannot be written", readOnly)
	if err := os.Rename(dir, dir+"~"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if deliver(t, a, "e") {
		t.Error("finished without a directory")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if !deliver(t, a, "e", "f") {
		t.Error("f is not finished, though the directory can be made")
	}
	a.rotate(true)
	want(t, dir, map[string]string{"orders.h.x-000002": "e\nf\n"})
	want(t, dir+"~", map[string]string{"orders.h.x-000000": "a\n", "orders.h.x-000001": "d\n"})
	if err := os.RemoveAll(dir + "~"); err != nil {
		t.Error(err)
	}
}

// TestDiskHangs: the end does not wait for ever, and says for what it did not.
func TestDiskHangs(t *testing.T) {
	a := open(t, "-dir", t.TempDir())
	a.mu.Lock() // as while fsync hangs
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := nsqx.Run(ctx, a, nsqx.WithGrace(50*time.Millisecond), nsqx.WithRunLogger(slog.New(slog.DiscardHandler)))
	e, ok := errors.AsType[*nsqx.GraceError](err)
	if !ok || !slices.Equal(e.Services, []string{"archive of orders"}) {
		t.Errorf("Run returned %v", err)
	}
	a.mu.Unlock()
}

// TestGzip: all batches of a file are read as one text, and those before the end of the file at any
// time.
func TestGzip(t *testing.T) {
	dir := t.TempDir()
	a := open(t, "-dir", dir, "-datetime", "x", "-gzip", "9")
	deliver(t, a, "a", "b")
	deliver(t, a, strings.Repeat("c", 1000))
	f, err := os.Open(filepath.Join(dir, "orders.h.x-000000.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if want := "a\nb\n" + strings.Repeat("c", 1000) + "\n"; err != nil || string(text) != want {
		t.Errorf("the file has %q, error %v", text, err)
	}
	a.rotate(true)
}
