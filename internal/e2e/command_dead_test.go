package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// letters returns n dead letters of orders/billing. Each tenth timed out.
func letters(n int) (bodies [][]byte) {
	for i := range n {
		var w envelope.Writer
		_ = w.Set(envelope.DeadTopic, topic)
		_ = w.Set(envelope.DeadChannel, channel)
		reason := "no credit"
		if i%10 == 0 {
			reason = "call: timeout after 30 s"
		}
		_ = w.Set(envelope.DeadError, reason)
		bodies = append(bodies, w.AppendTo(nil, []byte(strconv.Itoa(i))))
	}
	return bodies
}

const timeouts = `.headers["nsqx-dlq-error"] | test("timeout")`

// deadServer has n dead letters in dead/redrive, and orders/billing.
func deadServer(t *testing.T, n int, mutate ...func(*nsqd.Options)) *testnsqd.Server {
	t.Helper()
	s := testnsqd.Start(t, mutate...)
	s.EnsureChannel(topic, channel)
	s.EnsureChannel("dead", "redrive")
	s.Publish("dead", letters(n)...)
	for depth := int64(0); depth < int64(n); { // many take long on a busy machine
		before := depth
		eventually(t, func() bool { depth = s.Channel("dead", "redrive").Depth; return depth > before }, "more than %d of %d dead letters", before, n)
	}
	return s
}

func many() int {
	if _, ok := os.LookupEnv("NSQX_STRESS"); ok {
		return 30_000
	}
	return 5_000
}

// TestCommandDeadLs: a look at many dead letters is quick, and leaves all.
func TestCommandDeadLs(t *testing.T) {
	t.Parallel()
	n := many()
	s := deadServer(t, n)
	_ = runCommand(t, "", "--help")
	began := time.Now()
	r := runCommand(t, "", append(onNSQDs(s), "dead", "ls", "dead", "-n", "100")...)
	if took := time.Since(began); took > 5*time.Second { // below 0.1 s on a quiet machine
		t.Errorf("it took %v", took)
	}
	r.want(t, 0, "orders/billing", fmt.Sprintf("100 of %d messages in dead/redrive", n))
	if got := strings.Count(r.out, "\n"); got != 101 {
		t.Errorf("%d lines, want 100 and a header", got)
	}
	left := func() {
		t.Helper()
		eventually(t, func() bool { st := s.Channel("dead", "redrive"); return st.Depth == int64(n) && st.Clients == 0 }, "all dead letters to be back")
	}
	left()
	r = runCommand(t, "", append(onNSQDs(s), "dead", "ls", "dead", "--where", timeouts, "--json", "-n", "0")...)
	r.want(t, 0, `"nsqx-dlq-error":"call: timeout after 30 s"`, fmt.Sprintf("%d of %d messages", n/10, n))
	seen := make(map[string]bool)
	for _, v := range lines[struct{ ID, Body string }](t, r.out) {
		if !strings.HasSuffix(v.Body, "0") || seen[v.Body] {
			t.Errorf("message %s does not match, or was seen before", v.Body)
		}
		seen[v.Body] = true
	}
	if len(seen) != n/10 {
		t.Errorf("%d messages match, want %d", len(seen), n/10)
	}
	left()
	if testing.Short() {
		return
	}
	first := lines[struct{ ID string }](t, runCommand(t, "", append(onNSQDs(s), "dead", "ls", "dead", "--json", "-n", "1")...).out)
	runCommand(t, "", append(onNSQDs(s), "dead", "show", "dead", first[0].ID)...).want(t, 0, "nsqx-dlq-topic: orders", "")
	runCommand(t, "", append(onNSQDs(s), "dead", "show", "dead", "0123456789abcdef")...).want(t, 1, "", "no message 0123456789abcdef")
	left()
}

// TestCommandDeadLsCost: a look at the first 100 reads as many, however many there are: they are not
// counted, and nsqd reads its disk from the front. -v shows the times.
func TestCommandDeadLsCost(t *testing.T) {
	t.Parallel()
	_ = runCommand(t, "", "--help") // the program is built
	for _, n := range []int{1_000, 10_000, 100_000} {
		if n > 10_000 && testing.Short() {
			break
		}
		s := deadServer(t, n)
		began := time.Now()
		r := runCommand(t, "", append(onNSQDs(s), "dead", "ls", "dead", "-n", "100")...)
		took := time.Since(began)
		r.want(t, 0, "orders/billing", fmt.Sprintf("100 of %d messages in dead/redrive; each of the 100 that were read", n))
		eventually(t, func() bool { st := s.Channel("dead", "redrive"); return st.Depth == int64(n) && st.Clients == 0 }, "all dead letters to be back")
		given := s.Channel("dead", "redrive").Requeued
		t.Logf("the first 100 of %d: %v, %d messages were given back", n, took.Round(time.Millisecond), given)
		if given != 100 || took > 10*time.Second {
			t.Errorf("a look at 100 of %d gave back %d messages, in %v", n, given, took)
		}
	}
}

// TestCommandLooks: no look creates a topic or a channel, or takes messages that wait in a topic.
func TestCommandLooks(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.NSQD().GetTopic("bare")
	s.Publish("bare", []byte("1"), []byte("2"))
	s.EnsureChannel("fleeting", "x#ephemeral")
	s.EnsureChannel("two", "a")
	s.EnsureChannel("two", "b")
	s.EnsureChannel("still", "a")
	s.Do("/channel/pause?topic=still&channel=a")
	state := func() string {
		var b strings.Builder
		for _, ts := range s.NSQD().GetStats("", "", false).Topics {
			fmt.Fprintf(&b, "%s:%d", ts.TopicName, ts.Depth)
			for _, c := range ts.Channels {
				fmt.Fprintf(&b, " %s:%d", c.ChannelName, c.Depth)
			}
			b.WriteString("\n")
		}
		return b.String()
	}
	before := state()
	for _, tt := range []struct {
		args   string
		code   int
		beside string
	}{
		{"dead ls bare", 1, "no channel, and 2 messages wait in it"},
		{"dead ls nowhere", 1, "no nsqd has the topic nowhere"},
		{"dead ls two", 2, "the channels a, b: name one by --channel"},
		{"dead ls two --channel c", 1, "has no channel c, but a, b"},
		{"dead ls still", 1, "is paused"},
		{"dead ls two --channel a", 0, "0 of 0 messages"},
		{"dead ls two --channel a --where .headers[", 2, "--where: at character"},
		{"dead ls two --channel a --where nosuch(1)", 2, "function not defined: nosuch/1"},
		{"dead ls two --channel a -n -1", 2, "--limit"},
		{"dead redrive bare", 1, "no channel"},
		{"dead redrive two --channel a --rate 0", 2, "WithRedriveRate"},
		{"dead redrive two --channel a --to nowhere", 1, "no nsqd has the topic nowhere"},
		{"dead purge bare -y", 1, "no channel"},
		{"tail bare", 1, "no channel that is not ephemeral"},
		{"tail fleeting", 1, "no channel that is not ephemeral"},
		{"tail nowhere", 1, "no nsqd has the topic"},
		{"tail two --where 1+", 2, "--where"},
		{"pub nowhere", 1, "no nsqd has the topic"},
		{"pub two --at yesterday", 2, "neither a time"},
		{"pub two -H novalue", 2, "not key=value"},
		{"channel create nowhere a", 1, "no nsqd has the topic nowhere"},
		{"channel empty two c -y", 1, "no nsqd has"},
		{"topic explode two", 2, "must be one of"},
		{"topic delete two", 1, "the answer was not yes"},
		{"no-such-command", 2, "unexpected argument"},
	} {
		runCommand(t, "", append(onNSQDs(s), strings.Fields(tt.args)...)...).want(t, tt.code, "", tt.beside)
	}
	runCommand(t, "", "stats").want(t, 2, "", "no server is named")
	runCommand(t, "", "stats", "--nsqd-http", "127.0.0.1:1").want(t, 1, "", "refused")
	runCommand(t, "", append(onNSQDs(s), "stats", "--nsqd-http", "127.0.0.1:1")...).want(t, 3, "bare", "1 servers have not answered")
	if after := state(); after != before {
		t.Errorf("state is\n%s, was\n%s", after, before)
	}
}

// TestCommandRedrive: exactly what matches moves.
func TestCommandRedrive(t *testing.T) {
	t.Parallel()
	n := many() / 5
	s := deadServer(t, n)
	r := runCommand(t, "", append(onNSQDs(s), "dead", "redrive", "dead", "--where", timeouts, "--dry-run")...)
	r.want(t, 0, fmt.Sprintf("%d would go to orders/billing", n/10), fmt.Sprintf("%d of %d messages", n/10, n))
	began := time.Now()
	r = runCommand(t, "", append(onNSQDs(s), "dead", "redrive", "dead", "--where", timeouts, "--rate", "5000", "--idle", "1s", "--json")...)
	r.want(t, 0, fmt.Sprintf(`{"redriven":%d,"filtered":%d,"failed":0`, n/10, n-n/10), "")
	t.Logf("%d of %d were moved in %v", n/10, n, time.Since(began))
	if got := s.Channel(topic, channel).Depth; got != int64(n/10) {
		t.Errorf("%d messages were moved", got)
	}
	eventually(t, func() bool { return s.Channel("dead", "redrive").Depth == int64(n-n/10) }, "the rest to be there")
	r = runCommand(t, "", append(onNSQDs(s), "dead", "redrive", "dead", "--rate", "5000", "--idle", "1s", "--limit", "7", "--to", topic)...)
	r.want(t, 0, "7 redriven", "")

	r = runCommand(t, "yes\n", append(onNSQDs(s), "dead", "purge", "dead", "--where", `.body | test("[12]$")`)...)
	r.want(t, 0, "", "were purged")
	eventually(t, func() bool { return s.Channel("dead", "redrive").Clients == 0 }, "the client to leave")
	rest := s.Channel("dead", "redrive").Unfinished()
	if rest < n-n/10-7-n/5 || rest > n-n/10-7-n/5+10 {
		t.Errorf("%d dead letters are left", rest)
	}
	eventually(t, func() bool { return s.Channel("dead", "redrive").Depth == int64(rest) }, "deferred ones to be back")
	runCommand(t, "", append(onNSQDs(s), "dead", "purge", "dead", "-y")...).want(t, 0, "", fmt.Sprintf("%d messages were purged", rest))
	if got := s.Channel("dead", "redrive").Unfinished(); got != 0 {
		t.Errorf("%d are left", got)
	}
}

// TestCommandRedriveKilled: a redrive that is killed or interrupted loses nothing, and doubles at most
// what is in flight.
func TestCommandRedriveKilled(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			const n = 3000
			s := deadServer(t, n, messageTimeout(2*time.Second))
			c := command(t, "", append(onNSQDs(s), "dead", "redrive", "dead", "--rate", "2000", "--where", `.body | test("[0-4]$")`)...)
			var errs bytes.Buffer
			c.Stderr = &errs
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { return s.Channel(topic, channel).Messages > 200 }, "messages to be moved")
			_ = c.Process.Signal(signal)
			_ = c.Wait()
			eventually(t, func() bool {
				st := s.Channel("dead", "redrive")
				return st.Clients == 0 && st.InFlight == 0 && st.Deferred == 0
			}, "dead letters to be back: %s", errs.String())
			times := make([]int, n) // by body
			for _, of := range [][]string{{topic, "--channel", channel}, {"dead"}} {
				r := runCommand(t, "", append(append(onNSQDs(s), "dead", "ls", "--json", "-n", "0"), of...)...)
				r.want(t, 0, "", "")
				for _, l := range lines[struct{ Body string }](t, r.out) {
					i, err := strconv.Atoi(l.Body)
					must(t, err)
					times[i]++
				}
			}
			lost, twice := 0, 0
			for _, k := range times {
				lost += max(1-k, 0)
				twice += max(k-1, 0)
			}
			inFlight := 64 // of this rate
			if signal == syscall.SIGINT {
				inFlight = 0
			}
			t.Logf("%d moved, %d twice", s.Channel(topic, channel).Depth, twice)
			if lost > 0 || twice > inFlight {
				t.Errorf("%d are lost, %d there twice, of %d", lost, twice, n)
			}
		})
	}
}
