package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// names gives the files of a topic their names. Files are written in the directory begun, and moved
// to the directory finished if that is another one.
type names struct {
	begun, finished  string
	format, datetime string // format has <DATETIME> and <REV> left
	leftover         string // pattern of the names that processes before this one have given

	last     string // base of the last file
	revision int    // to try first for another file with that base
}

func newNames(cfg config, topic string) *names {
	with := func(pid string) string {
		return strings.NewReplacer("<TOPIC>", topic, "<HOST>", cfg.host, "<PID>", pid).Replace(cfg.name)
	}
	return &names{
		begun: cmp.Or(cfg.work, cfg.dir), finished: cfg.dir,
		format: with(strconv.Itoa(os.Getpid())), datetime: cfg.datetime,
		leftover: strings.NewReplacer("<DATETIME>", "*", "<REV>", "*").Replace(with("*")),
	}
}

// check makes the directories, and tries what will be done with files.
func (n *names) check() error {
	if base := n.base(time.Now()); !filepath.IsLocal(base) {
		return fmt.Errorf("-name makes %q, want a name below the directory", base)
	}
	if err := errors.Join(os.MkdirAll(n.begun, 0o777), os.MkdirAll(n.finished, 0o777)); err != nil {
		return err
	}
	f, err := os.CreateTemp(n.begun, ".tofile-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(f.Close(), syncDirs(n.begun, f.Name())); err != nil || n.begun == n.finished {
		return err
	}
	to := filepath.Join(n.finished, filepath.Base(f.Name()))
	if err := os.Link(f.Name(), to); err != nil {
		return fmt.Errorf("-work and -dir must be in one file system: %w", err)
	}
	return errors.Join(syncDirs(n.finished, to), os.Remove(to))
}

// base returns the name of a file without its revision.
func (n *names) base(now time.Time) string {
	return strings.ReplaceAll(n.format, "<DATETIME>", now.Format(n.datetime))
}

// create creates a file with a new name. That name is on the disk when it returns.
func (n *names) create(now time.Time) (*file, error) {
	base := n.base(now)
	if base != n.last {
		n.last, n.revision = base, 0
	}
	for ; ; n.revision++ {
		name := strings.ReplaceAll(base, "<REV>", fmt.Sprintf("-%06d", n.revision))
		if _, err := os.Lstat(filepath.Join(n.finished, name)); err == nil {
			continue
		}
		path := filepath.Join(n.begun, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if err := syncDirs(n.begun, path); err != nil {
			return nil, errors.Join(err, f.Close(), os.Remove(path))
		}
		return &file{File: f, base: base, begun: now}, nil
	}
}

// finish closes a file, and moves it to its directory. A file without a line is removed.
func (n *names) finish(f *file) error {
	err := f.Close()
	if f.size == 0 {
		return errors.Join(err, os.Remove(f.Name()))
	}
	n.revision++
	return errors.Join(err, n.move(f.Name()))
}

// moveLeft moves the files that a crash has left in the directory begun.
func (n *names) moveLeft() (moved []string, err error) {
	if n.begun == n.finished {
		return nil, nil
	}
	left, err := fs.Glob(os.DirFS(n.begun), filepath.ToSlash(n.leftover))
	if err != nil {
		return nil, fmt.Errorf("-name %q: %w", n.format, err)
	}
	for _, name := range left {
		path := filepath.Join(n.begun, filepath.FromSlash(name))
		if err := n.move(path); err != nil {
			return moved, err
		}
		moved = append(moved, path)
	}
	return moved, nil
}

// move moves a file from the directory begun to finished. It overwrites nothing: if another process
// has given the name to a file meanwhile, a number is added.
func (n *names) move(path string) error {
	if n.begun == n.finished {
		return nil
	}
	name, err := filepath.Rel(n.begun, path)
	if err != nil {
		return err
	}
	to, ext := filepath.Join(n.finished, name), filepath.Ext(name)
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	for i := 1; ; i++ {
		err := os.Link(path, to)
		if err == nil || same(path, to) { // same: a crash came before Remove
			return errors.Join(syncDirs(n.finished, to), os.Remove(path))
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		to = filepath.Join(n.finished, fmt.Sprintf("%s~%d%s", strings.TrimSuffix(name, ext), i, ext))
	}
}

// same reports whether two paths lead to one file.
func same(a, b string) bool {
	x, err1 := os.Lstat(a)
	y, err2 := os.Lstat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// syncDirs writes the directories of a file, up to top, to the disk: without that a loss of power may
// take the name of a file whose content was synced.
func syncDirs(top, path string) error {
	if runtime.GOOS == "windows" {
		return nil // directories have no fsync there
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
		if dir == filepath.Clean(top) || dir == filepath.Dir(dir) {
			return nil
		}
	}
}
