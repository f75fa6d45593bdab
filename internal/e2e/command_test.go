package e2e

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// hostile are bodies that a terminal would obey.
var hostile = [][]byte{
	[]byte("\x1b[2J\x1b]0;title\x07"), []byte("\u009b31mred\u202e"), []byte("a\x00\xff\xfe\r\nb"), []byte(`{"evil":"\u001b[31m"}`), bytes.Repeat([]byte("\x1b[31m"), 20000),
}

// TestCommandHostile: no command prints what a terminal would obey; runCommand checks that.
func TestCommandHostile(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel("dead", "redrive")
	s.Publish("dead", hostile...)
	eventually(t, func() bool { return s.Channel("dead", "redrive").Depth == int64(len(hostile)) }, "messages")
	for _, args := range [][]string{
		{"dead", "ls", "dead"}, {"dead", "ls", "dead", "--json"}, {"dead", "ls", "\x1b[2J"}, {"dead", "ls", "dead", "--where", "\x1b[2J"},
		{"dead", "redrive", "dead", "--dry-run"}, {"tail", "\x1b[2J"}, {"stats", "\x1b[2J"}, {"stats", "--json"}, {"\x1b[2J"},
	} {
		runCommand(t, "", append(onNSQDs(s), args...)...)
	}
	for _, v := range lines[struct{ ID string }](t, runCommand(t, "", append(onNSQDs(s), "dead", "ls", "dead", "--json")...).out) {
		runCommand(t, "", append(onNSQDs(s), "dead", "show", "dead", v.ID)...).want(t, 0, v.ID, "")
	}
}

// TestCommandPubTail: what is published is confirmed, and tail shows it, without a trace afterwards.
func TestCommandPubTail(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	tail := func(args ...string) (stop func() string) {
		t.Helper()
		c := command(t, "", append(onNSQDs(s), append([]string{"tail", topic}, args...)...)...)
		var out bytes.Buffer
		c.Stdout = &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return s.Clients() == 1 }, "tail to be subscribed")
		return func() string {
			_ = c.Process.Signal(syscall.SIGINT)
			if err := c.Wait(); err != nil {
				t.Errorf("tail %q: %v", args, err)
			}
			eventually(t, func() bool { return len(s.NSQD().GetStats(topic, "", false).Topics[0].Channels) == 1 }, "its channel to go")
			return out.String()
		}
	}
	stop := tail("--decode", "json", "--where", ".json.n > 1", "-n", "2")
	runCommand(t, `{"n":1}`+"\n\n"+`{"n":2, "x":"\u001b"}`+"\n"+`{"n":3}`+"\n", append(onNSQDs(s), "pub", topic, "-H", "tenant=acme")...).
		want(t, 0, "", "3 messages to orders confirmed, of 3")
	eventually(t, func() bool { return s.Clients() == 0 }, "tail to end by itself")
	out := stop()
	if !strings.Contains(out, `tenant=acme {"n":2,"x":"\u001b"}`) || !strings.Contains(out, `{"n":3}`) || strings.Contains(out, `{"n":1`) {
		t.Errorf("tail prints %q", out)
	}
	stop = tail("--decode", "hex")
	before := s.Channel(topic, channel).Messages
	runCommand(t, "late\n", append(onNSQDs(s), "pub", topic, "--at", "300ms")...).want(t, 0, "", "1 messages")
	eventually(t, func() bool { return s.Channel(topic, channel).Messages > before }, "the deferred message")
	time.Sleep(500 * time.Millisecond)
	if out := stop(); !strings.Contains(out, "6c617465") {
		t.Errorf("tail prints %q", out)
	}
	runCommand(t, "too late\n", append(onNSQDs(s), "pub", topic, "--at", "3h")...).want(t, 1, "", "above the limit of 3600000 ms")
}

// TestCommandManage: commands for topics and channels reach all nsqds, or none.
func TestCommandManage(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t)
	a, b := testnsqd.Start(t, l.Register), testnsqd.Start(t, l.Register)
	flags := []string{"--lookupd", l.HTTPAddr()}
	eventually(t, func() bool {
		return strings.Contains(runCommand(t, "", append(flags, "stats")...).out, "no topics at 2 nsqds")
	}, "both nsqds to be registered")
	do := func(in, args string) ran {
		t.Helper()
		return runCommand(t, in, append(flags, strings.Fields(args)...)...)
	}
	do("", "topic create orders").want(t, 0, "", "created at 2 of 2")
	do("", "channel create orders billing").want(t, 0, "", "created at 2 of 2")
	a.Publish(topic, []byte("1"), []byte("2"), []byte("3"))
	eventually(t, func() bool { return a.Channel(topic, channel).Depth == 3 }, "messages")
	do("", "stats").want(t, 0, "billing", "")
	do("no\n", "channel pause orders billing").want(t, 1, "", "not yes")
	do("yes\n", "channel pause orders billing").want(t, 0, "", "paused at 2 of 2")
	do("", "stats").want(t, 0, "(paused)", "")
	do("", "channel unpause orders billing").want(t, 0, "", "unpaused at 2 of 2")
	do("yes\n", "channel empty orders billing").want(t, 0, "", "3 messages of channel orders/billing at 2 nsqds will be gone")
	check.Want(t, "depth", a.Channel(topic, channel).Depth, 0)
	runCommand(t, "", append(flags, "--nsqd-http", "127.0.0.1:1", "topic", "delete", topic, "-y")...).want(t, 1, "", "nothing was done")
	do("", "topic delete orders -y").want(t, 0, "", "deleted at 2 of 2")
	check.Want(t, "topics", len(a.NSQD().GetStats("", "", false).Topics)+len(b.NSQD().GetStats("", "", false).Topics), 0)
}

// TestCommandSecure: TLS and AUTH by flags.
func TestCommandSecure(t *testing.T) {
	t.Parallel()
	ca, auth := testnsqd.NewAuthority(t), testnsqd.StartAuth(t)
	s := deadServer(t, 3, ca.RequireTLS, auth.Require)
	secret := t.TempDir() + "/secret"
	writeFile(t, secret, "let me in\n")
	all := append(onNSQDs(s), "--tls-root-ca-file", ca.CAFile, "--auth-secret-file", secret)
	runCommand(t, "", append(all, "dead", "ls", "dead")...).want(t, 0, "no credit", "3 of 3")
	check.Want(t, "secrets", strings.Join(auth.Secrets(), ","), "let me in")
	r := runCommand(t, "", append(onNSQDs(s), "dead", "ls", "dead")...)
	if r.code != 1 || strings.Contains(r.out+r.err, "let me in") {
		t.Errorf("without TLS: %+v", r)
	}
	runCommand(t, "", append(onNSQDs(s), "--tls-root-ca-file", "/nowhere", "dead", "ls", "dead")...).want(t, 2, "", "--tls-root-ca-file")
}

// TestCommandManyTopics: a cluster with many topics.
func TestCommandManyTopics(t *testing.T) {
	t.Parallel()
	const n = 500
	s := testnsqd.Start(t, func(o *nsqd.Options) { o.MemQueueSize = 1 })
	for i := range n {
		s.EnsureChannel("topic-"+strings.Repeat("x", i%50)+"-"+string(rune('a'+i%26))+strings.Repeat("y", i/50), channel)
	}
	r := runCommand(t, "", append(onNSQDs(s), "stats")...)
	if lines := strings.Count(r.out, "\n"); r.code != 0 || lines < n {
		t.Errorf("%d lines: %s", lines, r.err)
	}
}
