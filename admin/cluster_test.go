package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/internal/check"
)

func nodes(t *testing.T, producers ...admin.Producer) string {
	t.Helper()
	data, err := json.Marshal(map[string]any{"producers": producers})
	if err != nil {
		t.Fatal(err)
	}
	return answer(t, 200, string(data))
}

func node(host string, port int) admin.Producer {
	return admin.Producer{BroadcastAddress: host, TCPPort: port, HTTPPort: port + 1}
}

// TestTopology merges what several nsqlookupds say; those that fail hide nothing.
func TestTopology(t *testing.T) {
	a := nodes(t, node("a.test", 4150), node("b.test", 4150), node("bad host\x1b[2J", 4150), node("a.test", 0))
	b := nodes(t, node("a.test", 4150))
	c := admin.Cluster{Lookupds: []string{a, answer(t, 500, "no"), b, "nowhere"}, NSQDs: []string{"a.test:4150", "socket"}}
	c.Config.HTTPClient = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	got, err := c.Topology(t.Context())
	check.WantErr(t, "Topology", err, nil)
	var names []string
	for _, n := range got.Nodes {
		names = append(names, fmt.Sprint(n.Addr, " ", n.HTTP, " ", len(n.Lookupds)))
	}
	check.Want(t, "nodes", strings.Join(names, ", "), "a.test:4150 a.test:4151 2, b.test:4150 b.test:4151 1")
	for _, err := range got.Failures {
		if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q has an escape sequence", err)
		}
	}
	if n := len(got.Failures); n < 5 || n > 6 { // of a.test only while no nsqlookupd has named it
		t.Errorf("failures: %q", got.Failures)
	}
	c = admin.Cluster{Lookupds: []string{a}, MaxNodes: 1}
	got, err = c.Topology(t.Context())
	check.WantErr(t, "Topology", err, nil)
	check.Want(t, "nodes at most", len(got.Nodes), 1)
	if _, err := (&admin.Cluster{}).Topology(t.Context()); err == nil {
		t.Error("an empty cluster has nodes")
	}
}

// TestParallel: many nsqds are asked, a few at a time, and a cancelled question ends.
func TestParallel(t *testing.T) {
	var now, most, calls atomic.Int64
	var hang atomic.Bool
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if hang.Load() {
			<-r.Context().Done()
		}
		fmt.Fprint(w, `{"version":"1.3.0"}`)
	})
	all := make([]admin.Node, 300)
	for i := range all {
		all[i] = admin.Node{HTTP: addr}
	}
	all[7].HTTP = "nowhere"
	c := admin.Cluster{Parallel: 3, Progress: func(int, int) { calls.Add(1) }}
	got := c.Stats(t.Context(), all, admin.StatsFilter{})
	for i, s := range got {
		if (s.Err == nil) != (i != 7) || i != 7 && s.Stats.Version != "1.3.0" {
			t.Errorf("node %d: %+v, %v", i, s.Stats, s.Err)
		}
	}
	check.Want(t, "progress", calls.Load(), 300)
	if most.Load() > 3 {
		t.Errorf("%d requests at a time", most.Load())
	}
	hang.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for i, s := range c.Stats(ctx, all, admin.StatsFilter{}) {
		if s.Err == nil {
			t.Errorf("node %d has answered", i)
		}
	}
}
