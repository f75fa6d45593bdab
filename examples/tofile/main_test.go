package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx/examples/internal/embedded"
	"github.com/nsqx/nsqx/examples/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// TestRun: what is in the channel at the end of run is in files, each line once. SIGHUP ends a file.
func TestRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d, exit, err := embedded.NSQD()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := exit(); err != nil {
			t.Error(err)
		}
	}()
	publish := func(topic string, bodies ...string) {
		for _, b := range bodies {
			topic := d.GetTopic(topic)
			topic.GetChannel("test")
			if err := topic.PutMessage(nsqd.NewMessage(topic.GenerateID(), []byte(b))); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish("orders", "a", "b")
	publish("invoices", "1")

	dir, work := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "orders.old-000003.2001.log"), []byte("left\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-nsq", "nsq://" + d.RealTCPAddr().String() + "?batch=100,10ms", "-topic", "orders", "-topic", "invoices",
			"-channel", "test", "-dir", dir, "-work", work, "-host", "old", "-datetime", "2006"}, io.Discard)
	}()
	year := time.Now().Format(".2006.log")
	eventually(t, func() bool {
		files := content(t, work)
		return files["orders.old-000000"+year] == "a\nb\n" && files["invoices.old-000000"+year] == "1\n"
	})
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return content(t, dir)["orders.old-000000"+year] == "a\nb\n" })
	publish("orders", "c")
	eventually(t, func() bool { return content(t, work)["orders.old-000001"+year] == "c\n" })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := embedded.Unfinished(d, "orders") + embedded.Unfinished(d, "invoices"); n > 0 {
		t.Errorf("nsqd has %d unfinished messages", n)
	}
	want(t, dir, map[string]string{
		"orders.old-000003.2001.log": "left\n", // of a process that has crashed
		"orders.old-000000" + year:   "a\nb\n",
		"orders.old-000001" + year:   "c\n",
		"invoices.old-000000" + year: "1\n",
	})
	want(t, work, nil)
}

func TestRunRefusesWrongFlags(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		want string // part of the error
	}{
		{"-topic=", "topic is faulty"},
		{"-topic a!", "topic is faulty"},
		{"-topic a -topic b -name x<REV>", "want <TOPIC> in it"},
		{"-topic a -name x", "want <REV> in it"},
		{"-topic a -name ../x<REV>", "want a name below the directory"},
		{"-topic .. -name <TOPIC>/x<REV>", "want a name below the directory"},
		{"-topic a -datetime %Y", "want a layout of Go"},
		{"-topic a -host a/b", "want none of"},
		{"-topic a -gzip 10", "-gzip is 10, want 0 to 9"},
		{"-topic a -rotate-size -1", "-rotate-size is -1"},
		{"-topic a -rotate-interval -1s", "-rotate-interval is -1s"},
		{"-topic a -rotate-interval 1", "rotate-interval"},
		{"-topic a -dir=", "-dir is empty"},
		{"-topic a -dir " + dir + "/file", "not a directory"},
		{"-topic a -dir " + dir + " -work " + dir + "/", "-work is -dir"},
		{"-topic a -nsq nsq://a:4150?concurrency=0", "concurrency is 0"},
		{"-topic a -channel=", "channel is faulty"},
		{"-topic a b", `["b"] is no flag`},
		{"", "-topic is missing"},
		{"-help", flag.ErrHelp.Error()},
	} {
		args := strings.Fields(tt.args)
		if !strings.Contains(tt.args, "-dir") {
			args = append([]string{"-dir", dir}, args...)
		}
		err := run(t.Context(), args, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want one with %q", tt.args, err, tt.want)
		}
	}
}

// eventually polls cond until it is true.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited 20 s")
		}
	}
}

// content returns the files below a directory.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // moved meanwhile
			return nil
		}
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return files
}

// want checks the files below a directory.
func want(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	got := content(t, dir)
	for name, text := range files {
		if got[name] != text {
			t.Errorf("%s is %q, want %q", name, got[name], text)
		}
		delete(got, name)
	}
	for name, text := range got {
		t.Errorf("there is %s with %q", name, text)
	}
}
