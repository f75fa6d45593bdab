package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx/admin"
)

// crowd is many nsqds and an nsqlookupd that names them. One listener serves them all: each has an
// address of its own in 127.0.0.0/8.
type crowd struct {
	t       *testing.T
	port    int // of HTTP
	clients int // port for clients, which accepts and is silent
	n       int
	answer  func(i int, w http.ResponseWriter, r *http.Request) // of nsqd i
	now     atomic.Int64                                        // requests
	most    atomic.Int64
}

func listenAll(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

func newCrowd(t *testing.T, n int, answer func(i int, w http.ResponseWriter, r *http.Request)) *crowd {
	l, port := listenAll(t)
	_, clients := listenAll(t)
	c := &crowd{t: t, port: port, clients: clients, n: n, answer: answer}
	s := &http.Server{Handler: c}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return c
}

func (c *crowd) host(i int) string { return fmt.Sprintf("127.1.%d.%d", i/250, i%250+1) }

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := c.now.Add(1)
	defer c.now.Add(-1)
	for m := c.most.Load(); now > m && !c.most.CompareAndSwap(m, now); m = c.most.Load() {
	}
	if r.URL.Path == "/nodes" {
		var all []admin.Producer
		for i := range c.n {
			all = append(all, admin.Producer{BroadcastAddress: c.host(i), TCPPort: c.clients, HTTPPort: c.port})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"producers": all})
		return
	}
	var a, b int
	_, _ = fmt.Sscanf(r.Host, "127.1.%d.%d:", &a, &b)
	c.answer(a*250+b-1, w, r)
}

// run runs a command, and returns its exit status, what it has printed and the peak of the heap.
func (c *crowd) run(limit time.Duration, args ...string) (code int, out, errs string, peak uint64) {
	c.t.Helper()
	tty, o, e := newTest(0, "")
	tty.live = true
	runtime.GC()
	ended, watching := make(chan struct{}), sync.WaitGroup{}
	watching.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	began := time.Now()
	code = run(context.Background(), append([]string{"--lookupd", fmt.Sprintf("127.0.0.1:%d", c.port), "--timeout", "300ms"}, args...), tty)
	took := time.Since(began)
	close(ended)
	watching.Wait()
	c.t.Logf("nsqx %s: %v, %d MB", strings.Join(args, " "), took.Round(time.Millisecond), peak>>20)
	if took > limit {
		c.t.Errorf("nsqx %q took %v", args, took)
	}
	return code, o.String(), e.String(), peak
}

// statistics are those of an nsqd with n topics of two channels.
func statistics(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"version":"1.3.0","health":"OK","topics":[`)
	for i := range n {
		fmt.Fprintf(&b, `{"topic_name":"topic-%05d","depth":0,"backend_depth":0,"message_count":1,"channels":[`, i)
		for j := range 2 {
			fmt.Fprintf(&b, `{"channel_name":"channel-%d","depth":1,"backend_depth":0,"in_flight_count":0,"deferred_count":0,"message_count":1,"requeue_count":0,"timeout_count":0,"client_count":1,"clients":[]},`, j)
		}
		b.Truncate(b.Len() - 1)
		b.WriteString(`]},`)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`]}`)
	return b.Bytes()
}

func never(r *http.Request) { <-r.Context().Done() }

// mixed answers as one nsqd of four that is well, and others that are not.
func mixed(stats []byte) func(int, http.ResponseWriter, *http.Request) {
	return func(i int, w http.ResponseWriter, r *http.Request) {
		switch {
		case i%20 == 1:
			never(r)
		case i%20 == 2:
			_, _ = io.WriteString(w, "\x1b[2J{")
		case i%20 == 3: // slowly
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		case i%20 == 4:
			http.Error(w, "no", http.StatusForbidden)
		case i%20 == 5:
			_, _ = io.WriteString(w, "null")
		case strings.HasPrefix(r.URL.Path, "/config/id"):
			fmt.Fprint(w, i)
		case strings.HasPrefix(r.URL.Path, "/config"):
			http.NotFound(w, r)
		default:
			_, _ = w.Write(stats)
		}
	}
}

// TestLargeCluster: up to 1000 nsqds, of which many answer garbage, slowly or never.
func TestLargeCluster(t *testing.T) {
	c := newCrowd(t, 1000, mixed(statistics(10)))
	code, out, errs, _ := c.run(30*time.Second, "stats", "--json")
	want(t, "status", code, exitPart)
	want(t, "lines", strings.Count(out, "\n"), 30)
	checkBeside(t, errs, "asked 1000 of 1000 servers", "more errors\n", ": the result is a part")
	silent := first(errs, `(\d+) servers have not answered`)
	if shown := first(out, `^{"topic":"topic-00000","nsqds":(\d+),`); silent < 200 || shown < 1 || shown+silent < 950 || shown+silent > 1000 {
		t.Errorf("%d nsqds are shown, %d have not answered", shown, silent)
	}
	if most := c.most.Load(); most > 2*maxParallel { // the server counts those that were given up a little longer
		t.Errorf("%d requests at a time", most)
	}

	silently := c.clients
	c.clients, c.n = 1, 400 // nobody listens there; doctor asks each nsqd a dozen times
	code, out, errs, _ = c.run(60*time.Second, "doctor", "--wait", "0s")
	c.clients, c.n = silently, 1000
	want(t, "status", code, exitErrors)
	checkBeside(t, errs, "380 more findings of nsqd-unreachable: --json prints all", " more findings of http-unreachable")
	want(t, "findings of one check", strings.Count(out, "nsqd-unreachable: "), maxFindings)

	code, _, errs, _ = c.run(60*time.Second, "dead", "ls", "topic-00003", "--channel", "channel-0")
	want(t, "status", code, exitFailed)
	checkBeside(t, errs, "messages in topic-00003/channel-0", "identify: not done within 300ms", "more errors\n")
}

// first is the number that a pattern finds first, -1 without.
func first(text, pattern string) int {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func checkBeside(t *testing.T, errs string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(errs, text) {
			t.Errorf("no %q beside the output, which has %d lines:\n%s", text, strings.Count(errs, "\n"), errs[max(len(errs)-2000, 0):])
		}
	}
	if n := strings.Count(errs, "\n"); n > 60 {
		t.Errorf("%d lines beside the output", n)
	}
}

// TestClusterNeverAnswers: then there is no time to ask all.
func TestClusterNeverAnswers(t *testing.T) {
	c := newCrowd(t, 1000, func(i int, w http.ResponseWriter, r *http.Request) {
		if i == 0 || i == 9 || i == 99 { // the first three in the order of their addresses
			_, _ = w.Write(statistics(1))
			return
		}
		never(r)
	})
	code, out, errs, _ := c.run(30*time.Second, "--total-timeout", "1s", "stats", "--json")
	want(t, "status", code, exitPart)
	want(t, "lines", strings.Count(out, "\n"), 3)
	checkBeside(t, errs, "nsqds were not asked within 1s: see --total-timeout", "servers have not answered")

	code, out, _, _ = c.run(60*time.Second, "--total-timeout", "1s", "doctor", "--wait", "0s")
	want(t, "status", code, exitErrors)
	if !strings.Contains(out, "not-asked: 127.1.") || !strings.Contains(out, "raise --total-timeout") {
		t.Errorf("doctor: %.2000s", out)
	}
}

// TestManyTopics: 10 000 topics at each of several nsqds.
func TestManyTopics(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	stats := statistics(10_000)
	c := newCrowd(t, 2, func(_ int, w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/config") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(stats)
	})
	c.clients = 1 // nobody listens there
	code, out, _, peak := c.run(5*time.Minute, "--timeout", "1m", "stats")
	want(t, "status", code, exitDone)
	want(t, "lines", strings.Count(out, "\n"), 30_001)
	if !strings.Contains(out, "topic-09999") || peak > 1<<29 {
		t.Errorf("stats, with %d MB: %.500s", peak>>20, out)
	}
	code, out, errs, peak := c.run(5*time.Minute, "--timeout", "1m", "doctor", "--wait", "0s")
	want(t, "status", code, exitErrors) // nobody speaks at the ports for clients
	if strings.Contains(out, "topic-") || peak > 1<<29 {
		t.Errorf("doctor, with %d MB: %.2000s%.2000s", peak>>20, out, errs)
	}
}

// TestLeftOut: what does not fit is left out, and is said.
func TestLeftOut(t *testing.T) {
	stats := admin.Stats{Topics: []admin.TopicStats{
		{Name: "a", Channels: make([]admin.ChannelStats, 2)},
		{Name: "b", Channels: []admin.ChannelStats{{Clients: make([]admin.ClientStats, 10)}}},
		{Name: "c"},
	}}
	room := 5
	want(t, "left out", trim(&stats, &room), 1)
	want(t, "room", room, 1)
	want(t, "topics", len(stats.Topics), 2)
	if all := checkTime(&facts{leftOut: 7}); len(all) != 1 || all[0].Check != "not-looked-at" || !strings.Contains(all[0].What, "7 topics beyond") {
		t.Errorf("findings %+v", all)
	}

	sum := totals{lines: make(map[lineKey]*line)}
	for i := range 2 {
		many := admin.Stats{Topics: make([]admin.TopicStats, maxLines)}
		for j := range many.Topics {
			many.Topics[j].Name = fmt.Sprint(i, j)
		}
		many.Topics[0].Channels = []admin.ChannelStats{{Name: "x", Clients: make([]admin.ClientStats, 3)}}
		sum.add(admin.Node{}, &many)
	}
	want(t, "lines", len(sum.lines)+sum.clients, maxLines)
	want(t, "left out", sum.leftOut, maxLines+2+3)
}
