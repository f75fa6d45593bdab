package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestAdminNSQD: each request, against the real nsqd.
func TestAdminNSQD(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxReqTimeout = 2 * time.Hour })
	n, err := admin.NewNSQD(s.HTTPAddr(), admin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	do := func(cmd admin.Command, topic, channel string, want error) {
		t.Helper()
		wantErrIs(t, fmt.Sprint(cmd, " ", topic, " ", channel), n.Do(ctx, cmd, topic, channel), want)
	}
	do(admin.Pause, topic, "", admin.ErrNotFound)
	do(admin.Create, topic, "", nil)
	do(admin.Empty, topic, channel, admin.ErrNotFound)
	do(admin.Create, topic, channel, nil)
	do(admin.Pause, topic, "", nil)
	s.Publish(topic, []byte("1"), []byte("2"))
	stats := func() admin.TopicStats {
		t.Helper()
		got, err := n.Stats(ctx, admin.StatsFilter{Topic: topic})
		if err != nil || len(got.Topics) != 1 || len(got.Topics[0].Channels) != 1 || got.Health != "OK" {
			t.Fatalf("Stats: %+v, %v", got, err)
		}
		return got.Topics[0]
	}
	if got := stats(); !got.Paused || got.Depth != 2 || got.Messages != 2 {
		t.Errorf("a paused topic: %+v", got)
	}
	do(admin.Pause, topic, channel, nil)
	do(admin.Unpause, topic, "", nil)
	eventually(t, func() bool { ch := stats().Channels[0]; return ch.Paused && ch.Depth == 2 }, "messages in the channel")
	channels, err := n.Channels(ctx, topic)
	if err != nil || len(channels) != 1 || channels[channel] != 2 {
		t.Errorf("Channels: %v, %v", channels, err)
	}
	do(admin.Empty, topic, channel, nil)
	do(admin.Unpause, topic, channel, nil)
	if got := stats().Channels[0]; got.Depth != 0 || got.Paused {
		t.Errorf("after empty: %+v", got)
	}
	do(admin.Delete, topic, channel, nil)
	do(admin.Delete, topic, "", nil)
	do(admin.Delete, topic, "", admin.ErrNotFound)

	if info, err := n.Info(ctx); err != nil || info.Version == "" || fmt.Sprintf("127.0.0.1:%d", info.TCPPort) != s.Addr() {
		t.Errorf("Info: %+v, %v", info, err)
	}
	if d, err := n.Duration(ctx, "max_req_timeout"); err != nil || d != 2*time.Hour {
		t.Errorf("max_req_timeout: %v, %v", d, err)
	}
	var level int
	if err := n.SetOption(ctx, "log_level", "warn"); err != nil {
		t.Error(err)
	}
	if err := n.Option(ctx, "log_level", &level); err != nil || level != int(nsqd.LOG_WARN) {
		t.Errorf("log_level: %d, %v", level, err)
	}
	if err := n.SetOption(ctx, "nsqlookupd_tcp_addresses", []string{}); err != nil {
		t.Error(err)
	}
	if err := n.Option(ctx, "no_such_option", nil); err == nil {
		t.Error("an option that does not exist can be read")
	}
}

// TestAdminCluster: two nsqlookupds and three nsqds, of which one registers with one alone.
func TestAdminCluster(t *testing.T) {
	t.Parallel()
	l1, l2 := testnsqd.StartLookupd(t), testnsqd.StartLookupd(t)
	both := []func(*nsqd.Options){l1.Register, l2.Register}
	servers := []*testnsqd.Server{testnsqd.Start(t, both...), testnsqd.Start(t, both...), testnsqd.Start(t, l2.Register)}
	servers[0].EnsureChannel(topic, channel)
	c := admin.Cluster{Lookupds: []string{l1.HTTPAddr(), l2.HTTPAddr()}, HTTP: []string{servers[2].HTTPAddr()}}
	var got *admin.Topology
	eventually(t, func() (all bool) {
		var err error
		got, err = c.Topology(t.Context())
		return err == nil && len(got.Nodes) == 3 && slices.EqualFunc(got.Nodes, byAddr(servers), func(n admin.Node, s *testnsqd.Server) bool {
			want := 2
			if s == servers[2] {
				want = 1
			}
			return n.Addr == s.Addr() && n.HTTP == s.HTTPAddr() && len(n.Lookupds) == want
		})
	}, "the topology")
	if len(got.Failures) > 0 {
		t.Errorf("failures: %v", got.Failures)
	}
	for _, s := range c.Stats(t.Context(), got.Nodes, admin.StatsFilter{Topic: topic}) {
		if s.Err != nil || (len(s.Stats.Topics) == 1) != (s.Node.Addr == servers[0].Addr()) {
			t.Errorf("%s: %+v, %v", s.Node.Addr, s.Stats, s.Err)
		}
	}

	l, err := admin.NewLookupd(l1.HTTPAddr(), admin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	eventually(t, func() bool {
		all, err := l.Channels(ctx, topic)
		return err == nil && slices.Equal(all, []string{channel})
	}, "the channel at nsqlookupd")
	if v, err := l.Version(ctx); err != nil || v == "" {
		t.Errorf("version %q, %v", v, err)
	}
	wantErrIs(t, "create", l.Do(ctx, admin.Create, "other", ""), nil)
	wantErrIs(t, "create", l.Do(ctx, admin.Create, "other", "x"), nil)
	wantErrIs(t, "delete", l.Do(ctx, admin.Delete, "other", "y"), admin.ErrNotFound)
	if all, err := l.Topics(ctx); err != nil || !slices.Contains(all, "other") || !slices.Contains(all, topic) {
		t.Errorf("topics %v, %v", all, err)
	}
	wantErrIs(t, "delete", l.Do(ctx, admin.Delete, "other", ""), nil)
	wantErrIs(t, "tombstone", l.Tombstone(ctx, topic, servers[0].HTTPAddr()), nil)
	nodes, err := l.Nodes(ctx)
	hidden := slices.ContainsFunc(nodes, func(p admin.Producer) bool { return slices.Equal(p.Tombstones, []bool{true}) })
	if err != nil || !hidden {
		t.Errorf("no tombstone: %+v, %v", nodes, err)
	}
}

// TestAdminManyTopics: a large answer of a real nsqd, with short names, is not taken for garbage.
func TestAdminManyTopics(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t, func(o *nsqd.Options) { o.E2EProcessingLatencyPercentiles = []float64{1, 0.9, 0.5} })
	for i := range 200 {
		s.EnsureChannel(fmt.Sprint(i, "#ephemeral"), "a#ephemeral") // without files
		s.EnsureChannel(fmt.Sprint(i, "#ephemeral"), "b#ephemeral")
	}
	n, err := admin.NewNSQD(s.HTTPAddr(), admin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.Stats(t.Context(), admin.StatsFilter{Clients: true})
	if err != nil || len(got.Topics) != 200 {
		t.Errorf("%d topics, %v", len(got.Topics), err)
	}
}

func byAddr(servers []*testnsqd.Server) []*testnsqd.Server {
	return slices.SortedFunc(slices.Values(servers), func(a, b *testnsqd.Server) int { return slices.Compare([]byte(a.Addr()), []byte(b.Addr())) })
}

func wantErrIs(t *testing.T, what string, got, want error) {
	t.Helper()
	if want == nil && got != nil || want != nil && !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestRedriveFilterReal: of many dead letters exactly those that the filter wants are moved.
func TestRedriveFilterReal(t *testing.T) {
	t.Parallel()
	const n = 3000
	s := testnsqd.Start(t)
	s.EnsureChannel("dead", "redrive")
	s.EnsureChannel("elsewhere", "all")
	var bodies [][]byte
	for i := range n {
		bodies = append(bodies, fmt.Appendf(nil, "%04d", i))
	}
	publish(t, s, "dead", bodies...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*waitTimeout)
	defer cancel()
	got, err := nsqx.Redrive(ctx, "dead", "elsewhere", nsqx.WithNSQD(s.Addr()), nsqx.WithRedriveHTTP(s.Addr(), s.HTTPAddr()), nsqx.WithRedriveRate(10000),
		nsqx.WithRedriveIdle(redriveIdle), nsqx.WithRedriveFilter(func(m *handler.Message) bool { return m.Body[3] == '7' }))
	if err != nil || got != (nsqx.RedriveReport{Redriven: n / 10, Filtered: n - n/10}) {
		t.Errorf("Redrive: %+v, %v", got, err)
	}
	if d := s.Channel("elsewhere", "all").Depth; d != n/10 {
		t.Errorf("%d messages were moved, want %d", d, n/10)
	}
	st := s.Channel("dead", "redrive")
	if st.Unfinished() != n-n/10 {
		t.Errorf("dead letters left: %+v, want %d", st, n-n/10)
	}
	if st.Requeued > 3*(n-n/10) { // rather than again and again until the idle time is over
		t.Errorf("%d dead letters stay, and were given back %d times", n-n/10, st.Requeued)
	}
}
