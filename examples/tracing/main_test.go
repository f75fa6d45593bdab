// Tests of main.go, shop.go, scrape.go, telemetry.go and tree.go: they run the program.

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/examples/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// followedTree is the trace of the followed order, without durations. A redriven message keeps its
// trace: the last process span is a child of the first publish span.
const followedTree = `
  checkout # ms  order 7
  └─ publish orders # ms
     ├─ process orders # ms  channel billing, attempt 1, requeue, again in # ms, ✗ the card is blocked
     │  └─ charge the card # ms  ✗ the card is blocked
     ├─ process orders # ms  channel billing, attempt 2, requeue, again in # ms, ✗ the card is blocked
     │  └─ charge the card # ms  ✗ the card is blocked
     ├─ process orders # ms  channel billing, attempt 3, dead_letter, ✗ the card is blocked
     │  ├─ charge the card # ms  ✗ the card is blocked
     │  └─ publish orders.dead # ms
     │     └─ process orders.dead # ms  channel redrive, attempt 1, finish
     │        └─ publish orders # ms
     └─ process orders # ms  channel billing, attempt 1, finish
        └─ charge the card # ms
`

func TestRun(t *testing.T) {
	collector := newCollector(t)
	setUp(t, collector.URL)
	var out bytes.Buffer
	if err := run(t.Context(), nil, &out, io.Discard); err != nil {
		t.Fatalf("run: %v, after:\n%s", err, &out)
	}
	if text := regexp.MustCompile(` *[\d.]+ ms`).ReplaceAllString(out.String(), " # ms"); !strings.Contains(text, followedTree) {
		t.Errorf("the output does not have the tree:%s", followedTree)
	}
	for line, want := range map[string]int{
		`nsqd 127\.0\.0\.1:\d+ and http://127\.0\.0\.1:\d+/metrics run in this process$`:                            1,
		`spans are also sent to ` + regexp.QuoteMeta(collector.URL) + `$`:                                           1,
		`✗ order 30 is not published: nsqx: publish rejected: `:                                                     1,
		`☠ a dead letter, after 3 attempts: the card is blocked$`:                                                   1,
		`⌛ charged, but too late: `:                                                                                 1,
		`⌛ failed, and too late: .*: the bank has answered too late$`:                                               1,
		`✓ 59 orders settled$`:                                                                                      1,
		`✓ the card is unblocked: 1 order redriven and charged$`:                                                    1,
		`messaging_client_sent_messages_total\{messaging_destination_name="orders\.dead"\} 1$`:                      1,
		`messaging_client_sent_messages_total\{error_type="E_BAD_MESSAGE",messaging_destination_name="orders"\} 1$`: 1,
		`nsq_consumer_settlements_total\{error_type="bank_down",.*messaging_nsq_message_disposition="requeue"\}`:    1,
		`nsq_consumer_settlements_total\{error_type="card_blocked",.*_message_disposition="dead_letter"\} 1$`:       1,
		`nsq_consumer_settlements_total\{error_type="panic",.*messaging_nsq_message_disposition="requeue"\} 1$`:     1,
		`nsq_consumer_settlements_total\{error_type="bank_slow",.*_message_disposition="expired"\} 1$`:              1,
		`nsq_consumer_timeouts_total\{.*\} 1$`:                                                                      1,
		`nsq_consumer_connection_count\{messaging_destination_name="orders",.*_subscription_name="billing"\} 1$`:    1,
	} {
		if found := regexp.MustCompile("(?m)^  "+line).FindAllString(out.String(), -1); len(found) != want {
			t.Errorf("got %d lines of %q, want %d", len(found), line, want)
		}
	}
	for _, name := range []string{"checkout", "publish orders", "process orders", "charge the card", "publish orders.dead", "shop of the test"} {
		if !strings.Contains(collector.got(), name) {
			t.Errorf("OTLP has got no %q", name)
		}
	}
	if t.Failed() {
		t.Logf("the output was:\n%s", &out)
	}
}

// The example exports every metric that the dashboard and the alerts use.
func TestServe(t *testing.T) {
	setUp(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	serving := &trigger{line: "running until Ctrl-C"}
	ready := make(chan struct{})
	serving.pull = sync.OnceFunc(func() { close(ready) })
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-serve"}, serving, io.Discard) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("run: %v, after:\n%s", err, serving.text())
	}

	url := regexp.MustCompile(`http://\S+/metrics`).FindString(serving.text())
	have := exposition(get(t, url))
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	checkDashboard(t, have)
	checkAlerts(t, have)
}

func TestRunStopped(t *testing.T) {
	for name, line := range map[string]string{"early": "run in this process", "selling": "a dead letter", "redriving": "59 orders settled"} {
		t.Run(name, func(t *testing.T) {
			setUp(t, "")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := run(ctx, nil, &trigger{line: line, pull: cancel}, io.Discard); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want context.Canceled", err)
			}
		})
	}
}

func TestRunRefusesWrongFlags(t *testing.T) {
	setUp(t, "")
	for _, tt := range []struct {
		args []string
		want string // part of the error
	}{
		{[]string{"-help"}, flag.ErrHelp.Error()},
		{[]string{"-server"}, "not defined"},
		{[]string{"-listen", "nowhere"}, "missing port"},
	} {
		if err := run(t.Context(), tt.args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want one with %q", tt.args, err, tt.want)
		}
	}
}

// setUp sets the environment of the program.
func setUp(t *testing.T, otlp string) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp)
	t.Setenv("OTEL_SERVICE_NAME", "shop of the test")
}

// collector receives spans over OTLP.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	body bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	c := new(collector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" {
			t.Errorf("a request to %s", r.URL)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, err := c.body.ReadFrom(r.Body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body.String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// trigger keeps all text, and calls pull when a text with line is written.
type trigger struct {
	line string
	pull func()

	mu  sync.Mutex
	all bytes.Buffer
}

func (w *trigger) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.all.Write(p)
	w.mu.Unlock()
	if bytes.Contains(p, []byte(w.line)) {
		w.pull()
	}
	return len(p), nil
}

func (w *trigger) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}
