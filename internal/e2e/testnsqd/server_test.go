// Tests of server.go, lookupd.go, stress.go and topics.go.

package testnsqd_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqio/nsq/nsqlookupd"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

func TestPublishAndStats(t *testing.T) {
	s := testnsqd.Start(t)
	if got := s.Channel("orders", "billing"); got != (testnsqd.ChannelStats{}) {
		t.Errorf("stats of a channel that does not exist: %+v", got)
	}
	s.EnsureChannel("orders", "billing")
	s.Publish("orders", []byte("a"), []byte("b"), []byte("c"))
	testnsqd.Eventually(t, waitTimeout, func() bool { return s.Channel("orders", "billing").Depth == 3 }, "depth 3")

	c := subscribe(t, s.Addr(), "orders", "billing")
	id, attempts, body := c.message()
	if attempts != 1 || body != "a" {
		t.Errorf("first message: attempts %d, body %q", attempts, body)
	}
	want := testnsqd.ChannelStats{Depth: 2, InFlight: 1, Messages: 3, Clients: 1}
	if got := s.Channel("orders", "billing"); got != want {
		t.Errorf("stats with one in flight:\n got %+v\nwant %+v", got, want)
	}
	if got := want.Unfinished(); got != 3 {
		t.Errorf("unfinished: got %d, want 3", got)
	}

	c.send("RDY 0\nREQ %s 60000\n", id)
	want = testnsqd.ChannelStats{Depth: 2, Deferred: 1, Messages: 3, Requeued: 1, Clients: 1}
	testnsqd.Eventually(t, waitTimeout, func() bool { return s.Channel("orders", "billing") == want }, "a deferred message")
}

func TestMessageTimeoutIsCounted(t *testing.T) {
	s := testnsqd.Start(t, func(o *nsqd.Options) { o.MsgTimeout = 20 * time.Millisecond })
	s.EnsureChannel("orders", "billing")
	s.Publish("orders", []byte("a"))
	c := subscribe(t, s.Addr(), "orders", "billing")
	c.message()
	if _, attempts, body := c.message(); attempts != 2 || body != "a" {
		t.Errorf("after the timeout: attempts %d, body %q", attempts, body)
	}
	if got := s.Channel("orders", "billing"); got.TimedOut == 0 {
		t.Errorf("no timeout counted: %+v", got)
	}
}

func TestServersDifferInMessageIDs(t *testing.T) {
	a, b := testnsqd.Start(t), testnsqd.Start(t)
	seen := make(map[nsqd.MessageID]bool)
	for _, s := range []*testnsqd.Server{a, b} {
		topic := s.NSQD().GetTopic("orders")
		for range 1000 {
			seen[topic.GenerateID()] = true
		}
	}
	if len(seen) != 2000 {
		t.Errorf("2000 ids, of which %d are distinct", len(seen))
	}
}

func TestRestartKeepsMessages(t *testing.T) {
	s := testnsqd.Start(t)
	addr, web := s.Addr(), s.HTTPAddr()
	s.EnsureChannel("orders", "billing")
	for i := range 250 { // more than memory holds
		s.Publish("orders", fmt.Append(nil, i))
	}
	s.Stop()
	s.Stop()
	if c, err := net.DialTimeout("tcp", addr, waitTimeout); err == nil {
		c.Close()
		t.Error("a stopped nsqd accepts connections")
	}
	s.Restart()
	if s.Addr() != addr || s.HTTPAddr() != web {
		t.Errorf("moved from %s, %s to %s, %s", addr, web, s.Addr(), s.HTTPAddr())
	}

	c := subscribe(t, addr, "orders", "billing")
	seen := make(map[string]bool)
	for range 250 {
		id, _, body := c.message()
		seen[body] = true
		c.send("FIN %s\n", id)
	}
	if len(seen) != 250 {
		t.Errorf("250 messages, of which %d are distinct", len(seen))
	}
	testnsqd.Eventually(t, waitTimeout, func() bool { return s.Channel("orders", "billing").Unfinished() == 0 }, "the last FIN")
}

func TestQuiescedRestartLosesNothing(t *testing.T) {
	s := testnsqd.Start(t)
	p := testnsqd.StartProxy(t, s.Addr())
	s.EnsureChannel("orders", "billing")

	end := time.Now().Add(testnsqd.Stress(t))
	for round := 1; round == 1 || time.Now().Before(end); round++ {
		for i := range 20 {
			s.Publish("orders", fmt.Appendf(nil, "%d", i))
		}
		c := subscribe(t, p.Addr(), "orders", "billing")
		finished := make(map[string]bool)
		for range 10 {
			id, _, body := c.message()
			c.send("FIN %s\n", id)
			finished[body] = true
		}
		c.message() // stays in flight
		testnsqd.Eventually(t, waitTimeout, func() bool { return s.Channel("orders", "billing").Unfinished() == 10 }, "10 FINs")

		s.QuiescedRestart(p)
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatal("a connection outlived the restart")
		}
		c = subscribe(t, p.Addr(), "orders", "billing")
		for range 10 {
			id, _, body := c.message()
			c.send("FIN %s\n", id)
			if finished[body] {
				t.Fatalf("round %d: message %s came again after its FIN", round, body)
			}
			finished[body] = true
		}
		c.Close()
		testnsqd.Eventually(t, waitTimeout, func() bool { return s.Channel("orders", "billing").Unfinished() == 0 }, "all FINs")
		if len(finished) != 20 {
			t.Fatalf("round %d: %d of 20 messages finished", round, len(finished))
		}
	}
}

func TestLookupd(t *testing.T) {
	l := testnsqd.StartLookupd(t, func(o *nsqlookupd.Options) { o.TombstoneLifetime = time.Second })
	s := testnsqd.Start(t, l.Register)
	s.EnsureChannel("orders", "billing")

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: waitTimeout}
	registered := func() bool {
		resp, err := client.Get("http://" + l.HTTPAddr() + "/lookup?topic=orders")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer := new(strings.Builder)
		if err := resp.Write(answer); err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(s.Addr())
		return strings.Contains(answer.String(), `"tcp_port":`+port)
	}
	testnsqd.Eventually(t, waitTimeout, registered, "nsqd to register")
	for range 3 {
		l.Restart()
		if registered() {
			t.Error("a fresh nsqlookupd knows an nsqd")
		}
		s.Kick()
		testnsqd.Eventually(t, waitTimeout/2, registered, "nsqd to register again") // its ping comes after 15 s
	}
	l.Stop()
	if resp, err := client.Get("http://" + l.HTTPAddr() + "/nodes"); err == nil {
		resp.Body.Close()
		t.Error("a stopped nsqlookupd answers")
	}
}

func TestStress(t *testing.T) {
	t.Setenv("NSQX_STRESS", "3m")
	if got := testnsqd.Stress(t); got != 3*time.Minute {
		t.Errorf("got %v, want 3m", got)
	}
}
