package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

func TestRun(t *testing.T) {
	d := startNSQD(t)
	bodies := []string{`{"id":1}`, `{"id":2}`, "\x1b[2J"}
	publish(t, d, bodies...)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &sink{lines: len(bodies), full: cancel}
	var status bytes.Buffer
	err := run(ctx, []string{"-nsqd", d.RealTCPAddr().String(), "-topic", "orders", "-channel", "test"}, out, &status)
	if err != nil {
		t.Fatalf("run: %v", err)
	}

	var want []string
	for _, body := range bodies {
		want = append(want, fmt.Sprintf("attempt 1  %#q", body))
	}
	slices.Sort(want)
	if got := out.sorted(t); !slices.Equal(got, want) {
		t.Errorf("got lines %q, want %q", got, want)
	}
	for _, text := range []string{"nsqx: connected", "msg=stopped finished=3 requeued=0"} {
		if !strings.Contains(status.String(), text) {
			t.Errorf("no %q in:\n%s", text, &status)
		}
	}
	if n := unfinished(d); n != 0 {
		t.Errorf("nsqd has %d unfinished messages, want none", n)
	}
}

func TestUnprintedMessageIsRequeued(t *testing.T) {
	d := startNSQD(t)
	publish(t, d, "one")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &sink{lines: 1, full: cancel, err: errors.New("broken pipe")}
	var status bytes.Buffer
	if err := run(ctx, []string{"-nsqd", d.RealTCPAddr().String(), "-channel", "test"}, out, &status); err != nil {
		t.Fatalf("run: %v", err)
	}
	if n := unfinished(d); n != 1 {
		t.Errorf("nsqd has %d unfinished messages, want 1", n)
	}
	for _, text := range []string{"broken pipe", "finished=0 requeued=1"} {
		if !strings.Contains(status.String(), text) {
			t.Errorf("no %q in:\n%s", text, &status)
		}
	}
}

// TestDeadLettersStay: a dead letter is printed and requeued, unless -finish is given.
func TestDeadLettersStay(t *testing.T) {
	for _, tt := range []struct {
		args []string
		left int
	}{{nil, 1}, {[]string{"-finish"}, 0}} {
		d := startNSQD(t)
		var headers envelope.Writer
		if err := headers.Set(envelope.DeadTopic, "orders"); err != nil {
			t.Fatal(err)
		}
		publish(t, d, string(headers.AppendTo(nil, []byte("dead"))), "alive")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := &sink{lines: 2, full: cancel}
		args := append([]string{"-nsqd", d.RealTCPAddr().String(), "-channel", "test"}, tt.args...)
		if err := run(ctx, args, out, io.Discard); err != nil {
			t.Fatalf("run: %v", err)
		}
		if n := unfinished(d); n != tt.left {
			t.Errorf("%q: nsqd has %d unfinished messages, want %d", tt.args, n, tt.left)
		}
	}
}

func TestRunEndsWithoutNSQD(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var status bytes.Buffer
	if err := run(ctx, []string{"-nsqd", "127.0.0.1:1"}, io.Discard, &status); err != nil {
		t.Errorf("run: %v", err)
	}
	if want := "msg=stopped finished=0"; !strings.Contains(status.String(), want) {
		t.Errorf("no %q in:\n%s", want, &status)
	}
}

func TestRunRefusesWrongFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string // part of the error
	}{
		{[]string{"-nsqd", ""}, "WithNSQD"},
		{[]string{"-topic", "not a topic"}, "topic"},
		{[]string{"-channel", ""}, "channel"},
		{[]string{"-concurrency", "0"}, "WithConcurrency"},
		{[]string{"-concurrency", "many"}, "concurrency"},
		{[]string{"-help"}, flag.ErrHelp.Error()},
	} {
		err := run(t.Context(), tt.args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want one with %q", tt.args, err, tt.want)
		}
	}
}

func TestLogEnd(t *testing.T) {
	id, err := handler.ParseID("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	var status bytes.Buffer
	logEnd(slog.New(slog.NewTextHandler(&status, nil)), nsqx.Stats{Finished: 7, Interrupted: 2},
		&nsqx.ShutdownError{Abandoned: []observe.Abandoned{{ID: id, Attempts: 3, Requeued: true}}})
	for _, text := range []string{
		"msg=stopped finished=7 requeued=0 interrupted=2",
		"msg=abandoned msg.id=0123456789abcdef msg.attempts=3 requeued=true",
	} {
		if !strings.Contains(status.String(), text) {
			t.Errorf("no %q in:\n%s", text, &status)
		}
	}
}

// sink collects lines, returns err from each Write, and calls full after the given number of lines.
type sink struct {
	lines int
	full  func()
	err   error

	mu   sync.Mutex
	seen []string
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.seen = append(s.seen, string(p))
	n := len(s.seen)
	s.mu.Unlock()
	if n == s.lines {
		s.full()
	}
	return len(p), s.err
}

// sorted returns the lines without message ids. Each line must have one.
func (s *sink) sorted(t *testing.T) []string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, line := range s.seen {
		m := regexp.MustCompile(`^[0-9a-f]{16}  (.*)\n$`).FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no id at the start of %q, or more than one line", line)
			continue
		}
		lines = append(lines, m[1])
	}
	slices.Sort(lines)
	return lines
}

// startNSQD runs nsqd until the test ends.
func startNSQD(t *testing.T) *nsqd.NSQD {
	t.Helper()
	o := nsqd.NewOptions()
	o.DataPath = t.TempDir()
	o.TCPAddress, o.HTTPAddress = "127.0.0.1:0", ""
	o.Logger = log.New(io.Discard, "", 0)
	d, err := nsqd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Main() }()
	t.Cleanup(func() {
		d.Exit()
		if err := <-ended; err != nil {
			t.Errorf("nsqd: %v", err)
		}
	})
	return d
}

func publish(t *testing.T, d *nsqd.NSQD, bodies ...string) {
	t.Helper()
	topic := d.GetTopic("orders")
	for _, body := range bodies {
		if err := topic.PutMessage(nsqd.NewMessage(topic.GenerateID(), []byte(body))); err != nil {
			t.Fatal(err)
		}
	}
}

// unfinished returns the number of messages that are not finished.
func unfinished(d *nsqd.NSQD) (n int) {
	for _, t := range d.GetStats("orders", "", false).Topics {
		n += int(t.Depth)
		for _, c := range t.Channels {
			n += int(c.Depth) + c.InFlightCount + c.DeferredCount
		}
	}
	return n
}
