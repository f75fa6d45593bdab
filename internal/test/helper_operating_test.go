package test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

var update = flag.Bool("update", false, "write the logs in docs/guide/operating.md")

// operatingPage is the page with the logs of situations.
const operatingPage = "../../docs/guide/operating.md"

// textLog collects the lines that an operator sees, from level Info on, without their dates.
type textLog struct{ lines synced[string] }

func (l *textLog) Write(line []byte) (int, error) {
	l.lines.add(string(bytes.TrimSuffix(line, []byte("\n"))))
	return len(line), nil
}

func (l *textLog) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		switch {
		case len(groups) > 0:
		case a.Key == slog.TimeKey || a.Key == "since":
			return slog.String(a.Key, a.Value.Time().Format(time.TimeOnly))
		case a.Key == "stack":
			return slog.String(a.Key, "…")
		}
		return a
	}}))
}

// count returns how many lines contain text.
func (l *textLog) count(text string) int {
	return strings.Count(strings.Join(l.lines.all(), "\n"), text)
}

// scene is a consumer in a situation.
type scene struct {
	*textLog
	t        *testing.T
	servers  []*nsqxtest.Server
	lookupds []*nsqxtest.Lookupd
}

// newScene returns a scene with nsqds, which register at nsqlookupds.
func newScene(t *testing.T, nsqds, lookupds int, opts ...nsqxtest.ServerOption) *scene {
	s := &scene{textLog: new(textLog), t: t}
	if lookupds > 0 {
		s.lookupds = nsqxtest.NewLookupds(t, lookupds)
		opts = append(opts, nsqxtest.WithLookupds(s.lookupds...))
	}
	s.servers = nsqxtest.NewServers(t, nsqds, append(opts, nsqxtest.WithoutLog(), nsqxtest.WithPatience(time.Hour))...)
	return s
}

// consume runs a consumer of orders/billing that logs.
func (s *scene) consume(fn handler.Func[int], opts ...nsqx.ConsumerOption) (c *nsqx.Consumer[int], stop func()) {
	s.t.Helper()
	nodes := nsqxtest.Option(s.servers...)
	if s.lookupds != nil {
		nodes = nsqxtest.LookupdOption(s.lookupds...)
	}
	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[int](), fn, append(opts, nodes, nsqx.WithLogger(s.logger()))...)
	if err != nil {
		s.t.Fatal(err)
	}
	stop = nsqxtest.Run(s.t, c)
	synctest.Wait()
	return c, stop
}

// producer makes a producer of orders that logs. It knows the nsqds.
func (s *scene) producer(opts ...nsqx.ProducerOption) *nsqx.Producer[string] {
	s.t.Helper()
	return newProducer(s.t, append(opts, nsqxtest.Option(s.servers...), nsqx.WithLogger(s.logger()))...)
}

// publish publishes a number to an nsqd.
func (s *scene) publish(nsqd, n int) { s.servers[nsqd].Publish("orders", fmt.Append(nil, n)) }

func works(context.Context, int) error { return nil }

// Numbers and ids differ from run to run, since pauses have jitter.
var (
	anID      = regexp.MustCompile(`msg\.id=[0-9a-f]+`)
	others    = regexp.MustCompile(` (others|more_failures)=[0-9]+| over_seconds=[0-9.]+| other_addresses="[^"]*"`)
	anyNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)
)

// shape is a log without what differs from run to run: its different lines, without numbers, in any
// order.
func shape(log string) string {
	log = others.ReplaceAllString(anID.ReplaceAllString(log, "msg.id"), "")
	lines := strings.Split(anyNumber.ReplaceAllString(log, "N"), "\n")
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// checkOperatingPage checks the logs in the page: each situation has one, of the same shape.
func checkOperatingPage(t *testing.T, logs map[string]string) {
	t.Helper()
	page, err := os.ReadFile(operatingPage)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- log: ([^\n]*) -->\n```text\n(.*?)```\n")
	seen := make(map[string]bool)
	changed := block.ReplaceAllStringFunc(string(page), func(text string) string {
		m := block.FindStringSubmatch(text)
		name, log := m[1], logs[m[1]]
		seen[name] = true
		switch {
		case log == "":
			t.Errorf("%s has a log of %q, which is no situation of the test", operatingPage, name)
		case shape(log) != shape(m[2]) && !*update:
			t.Errorf("%s: the log of %q is stale (go test ./internal/test -run TestOperating -update writes it):\n%s", operatingPage, name, log)
		case shape(log) != shape(m[2]):
			return "<!-- log: " + name + " -->\n```text\n" + log + "```\n"
		}
		return text
	})
	for name := range logs {
		if !seen[name] {
			t.Errorf("%s has no log of %q", operatingPage, name)
		}
	}
	if *update && changed != string(page) {
		if err := os.WriteFile(operatingPage, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
