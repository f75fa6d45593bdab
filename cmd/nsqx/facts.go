package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/conn"
)

// facts are what servers have said.
type facts struct {
	lookupds []lookupdFacts
	nodes    []*nodeFacts
	failures []error // of servers that were named wrongly
	skew     time.Duration
	tls      bool // the command connects with TLS
}

type lookupdFacts struct {
	addr string
	err  error
}

// nodeFacts are those of an nsqd.
type nodeFacts struct {
	admin.Node
	err     error // of the statistics
	stats   [2]admin.Stats
	options map[string]any // of the configuration, by name; what cannot be read is missing
	dial    error          // of a connection for clients
	resolve error          // of the broadcast address
	offset  time.Duration  // of the clock against the local one, beyond what the answer took
}

// options are what doctor reads of the configuration.
var options = []string{
	"id", "msg_timeout", "max_msg_timeout", "max_msg_size", "max_body_size", "max_req_timeout", "max_rdy_count", "tls_required", "auth_http_addresses",
}

// gather asks all servers, twice for what may be wrong for a moment.
func gather(ctx context.Context, t *terminal, s *servers, wait time.Duration) (*facts, error) {
	cluster, err := s.cluster()
	if err != nil {
		return nil, err
	}
	cfg, err := s.conn()
	if err != nil {
		return nil, err
	}
	cfg.DialTimeout, cfg.HandshakeTimeout = s.Timeout, s.Timeout
	f := &facts{tls: cfg.TLS != nil}
	top, err := cluster.Topology(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && len(s.Lookupd) == 0 {
		return nil, err
	}
	failed := make(map[string]error)
	for _, err := range top.Failures {
		if e, ok := errors.AsType[*admin.Error](err); ok && e.Server == "nsqlookupd" {
			failed[e.Addr] = err
		} else {
			f.failures = append(f.failures, err)
		}
	}
	for _, addr := range s.Lookupd {
		f.lookupds = append(f.lookupds, lookupdFacts{addr, failed[addr]})
	}
	for _, n := range top.Nodes {
		f.nodes = append(f.nodes, &nodeFacts{Node: n, options: make(map[string]any)})
	}
	cluster.Progress = func(done, all int) { t.show("asked %d of %d nsqds", done, all) }
	f.look(ctx, cluster, top.Nodes, 0)
	var dialling sync.WaitGroup
	dialling.Go(func() { f.dial(ctx, cluster, top.Nodes, cfg) })
	cluster.Each(ctx, top.Nodes, func(ctx context.Context, i int, n *admin.NSQD) error {
		f.nodes[i].ask(ctx, n, cluster.Config.HTTPClient)
		return nil
	})
	dialling.Wait()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
	f.look(ctx, cluster, top.Nodes, 1)
	t.clear()
	return f, ctx.Err()
}

// look reads the statistics.
func (f *facts) look(ctx context.Context, cluster *admin.Cluster, nodes []admin.Node, n int) {
	for i, s := range cluster.Stats(ctx, nodes, admin.StatsFilter{Clients: true}) {
		f.nodes[i].stats[n], f.nodes[i].err = s.Stats, s.Err
	}
}

// ask reads the configuration and the clock.
func (n *nodeFacts) ask(ctx context.Context, nsqd *admin.NSQD, client *http.Client) {
	if n.err != nil {
		return
	}
	for _, name := range options {
		var v any
		if nsqd.Option(ctx, name, &v) == nil {
			n.options[name] = v
		}
	}
	addr := n.HTTP
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	before := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, addr+"/ping", nil)
	if err != nil {
		return
	}
	res, err := client.Do(req)
	if err != nil {
		return
	}
	res.Body.Close()
	after := time.Now()
	at, err := http.ParseTime(res.Header.Get("Date")) // whole seconds
	switch {
	case err != nil:
	case at.After(after):
		n.offset = at.Sub(after)
	case at.Add(time.Second).Before(before):
		n.offset = at.Add(time.Second).Sub(before)
	}
}

// dial connects to each nsqd as a client does.
func (f *facts) dial(ctx context.Context, cluster *admin.Cluster, nodes []admin.Node, cfg conn.Config) {
	free := make(chan struct{}, 16)
	var dialling sync.WaitGroup
	for i, node := range nodes {
		dialling.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			n := f.nodes[i]
			host, _, err := net.SplitHostPort(node.Addr)
			if err == nil {
				looking, cancel := context.WithTimeout(ctx, cluster.Config.HTTPClient.Timeout)
				_, n.resolve = net.DefaultResolver.LookupHost(looking, host)
				cancel()
			}
			if n.resolve != nil {
				return
			}
			c, err := conn.Dial(ctx, node.Addr, cfg, nil)
			if err != nil {
				n.dial = err
				return
			}
			c.Abort(context.Canceled)
		})
	}
	dialling.Wait()
}

// whole are the nsqds that have answered both times.
func (f *facts) whole() (all []*nodeFacts) {
	for _, n := range f.nodes {
		if n.err == nil {
			all = append(all, n)
		}
	}
	return all
}
