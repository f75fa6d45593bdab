package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nsqx/nsqx/internal/lookup"
)

// Cluster names servers. It must not change while a method runs; its methods are safe for concurrent
// use.
type Cluster struct {
	Lookupds []string // HTTP addresses of nsqlookupds
	NSQDs    []string // addresses of nsqds for clients, which answer HTTP at the port above
	HTTP     []string // HTTP addresses of nsqds

	Config Config

	// Parallel is the most requests at a time. Defaults to 16.
	Parallel int

	// MaxNodes is the most nsqds: those beyond are left out, with an error in Topology.Failures.
	// Defaults to 4096.
	MaxNodes int

	// Progress, if set, is called after each request to one of several servers. It may be called
	// concurrently.
	Progress func(done, all int)
}

// Node is an nsqd.
type Node struct {
	Addr     string     // host:port for clients
	HTTP     string     // address of its HTTP interface
	Lookupds []string   // nsqlookupds that name it, as given; none if it was given itself
	Named    []Producer // how they do, in the same order
}

// Topology is the nsqds of a cluster.
type Topology struct {
	Nodes    []Node  // in the order of Addr
	Failures []error // of servers that did not say what was asked
}

// Topology asks all nsqlookupds for their nsqds, and adds those that Cluster names. It returns an
// error if there is none.
func (c *Cluster) Topology(ctx context.Context) (*Topology, error) {
	found := &finder{nodes: make(map[string]*Node), limit: cmp.Or(max(c.MaxNodes, 0), 4096)}
	var ask []func()
	for _, addr := range c.Lookupds {
		ask = append(ask, func() { found.lookupd(ctx, addr, c.Config) })
	}
	for _, addr := range c.HTTP {
		ask = append(ask, func() { found.nsqd(ctx, addr, c.Config) })
	}
	for _, addr := range c.NSQDs {
		ask = append(ask, func() { found.given(ctx, addr, c.Config) })
	}
	c.each(ctx, len(ask), func(i int) { ask[i]() })
	t := &Topology{Failures: found.failures}
	for _, n := range found.nodes {
		t.Nodes = append(t.Nodes, *n)
	}
	slices.SortFunc(t.Nodes, func(a, b Node) int { return cmp.Compare(a.Addr, b.Addr) })
	if found.surplus > 0 {
		t.Failures = append(t.Failures, fmt.Errorf("nsqx: %d nsqds beyond the first %d are left out; see Cluster.MaxNodes", found.surplus, found.limit))
	}
	if len(t.Nodes) == 0 {
		return t, cmp.Or(errors.Join(t.Failures...), ctx.Err(), errors.New("nsqx: no nsqd is named: give an nsqlookupd or an nsqd"))
	}
	return t, nil
}

// finder collects nsqds.
type finder struct {
	limit int

	mu       sync.Mutex
	nodes    map[string]*Node
	failures []error
	surplus  int
}

func (f *finder) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, err)
}

// add returns the node at an address, nil beyond the limit. mu is held.
func (f *finder) add(addr, http string) *Node {
	n := f.nodes[addr]
	switch {
	case n == nil && len(f.nodes) >= f.limit:
		f.surplus++
		return nil
	case n == nil:
		n = &Node{Addr: addr, HTTP: http}
		f.nodes[addr] = n
	}
	return n
}

func (f *finder) lookupd(ctx context.Context, addr string, cfg Config) {
	l, err := NewLookupd(addr, cfg)
	var nodes []Producer
	if err == nil {
		nodes, err = l.Nodes(ctx)
	}
	if err != nil {
		f.fail(err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range nodes {
		client, http := join(p.BroadcastAddress, p.TCPPort), join(p.BroadcastAddress, p.HTTPPort)
		if lookup.CheckAddress(client) != nil || lookup.CheckAddress(http) != nil {
			f.failures = append(f.failures, &Error{"nsqlookupd", addr, 0, fmt.Errorf("it names an nsqd without a valid address: %.256q", client)})
			continue
		}
		if n := f.add(client, http); n != nil {
			n.HTTP = http // rather than the guess for an nsqd that was given
			n.Lookupds, n.Named = append(n.Lookupds, addr), append(n.Named, p)
		}
	}
}

func (f *finder) nsqd(ctx context.Context, addr string, cfg Config) {
	n, err := NewNSQD(addr, cfg)
	var info Info
	if err == nil {
		info, err = n.Info(ctx)
	}
	var host string
	if err == nil {
		var u *url.URL
		if u, err = url.Parse("http://" + rootless(addr)); err == nil {
			host = u.Hostname()
		}
	}
	if client := join(host, info.TCPPort); err == nil && lookup.CheckAddress(client) != nil {
		err = &Error{"nsqd", addr, 0, fmt.Errorf("it has no valid port for clients: %d", info.TCPPort)}
	}
	if err != nil {
		f.fail(err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.add(join(host, info.TCPPort), addr); n != nil {
		n.HTTP = addr
	}
}

// given adds an nsqd by its address for clients, with the HTTP interface at the port above, if that
// belongs to the same nsqd. Otherwise a nsqlookupd may know where it is.
func (f *finder) given(ctx context.Context, addr string, cfg Config) {
	http, port, ok := lookup.NextPort(addr)
	if !ok || lookup.CheckAddress(addr) != nil {
		f.fail(fmt.Errorf(`nsqx: nsqd address %.256q is not "host:port"`, addr))
		return
	}
	n, err := NewNSQD(http, cfg)
	var info Info
	if err == nil {
		info, err = n.Info(ctx)
	}
	if err == nil && info.TCPPort != port {
		err = &Error{"nsqd", http, 0, fmt.Errorf("it is another nsqd, with port %d for clients", info.TCPPort)}
		http = ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.add(addr, http); n != nil {
		n.HTTP = cmp.Or(n.HTTP, http)
		if err != nil && len(n.Named) == 0 {
			f.failures = append(f.failures, err)
		}
	}
}

func join(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// NodeStats are the statistics of one node, or why there are none.
type NodeStats struct {
	Node  Node
	Stats Stats
	Err   error
}

// Stats asks all nodes, and returns their answers in the same order.
func (c *Cluster) Stats(ctx context.Context, nodes []Node, f StatsFilter) []NodeStats {
	all := make([]NodeStats, len(nodes))
	errs := c.Each(ctx, nodes, func(ctx context.Context, i int, n *NSQD) (err error) {
		all[i].Stats, err = n.Stats(ctx, f)
		return err
	})
	for i := range all {
		all[i].Node, all[i].Err = nodes[i], errs[i]
	}
	return all
}

// Each calls f for all nodes, at most Parallel at a time, and waits for the calls. It returns their
// errors in the order of nodes. A node that is not reached before ctx ends has its error.
func (c *Cluster) Each(ctx context.Context, nodes []Node, f func(ctx context.Context, i int, n *NSQD) error) []error {
	errs := make([]error, len(nodes))
	called := make([]bool, len(nodes))
	c.each(ctx, len(nodes), func(i int) {
		called[i] = true
		n, err := NewNSQD(nodes[i].HTTP, c.Config)
		if err == nil {
			err = f(ctx, i, n)
		}
		errs[i] = err
	})
	for i := range errs {
		if !called[i] {
			errs[i] = ctx.Err()
		}
	}
	return errs
}

func (c *Cluster) each(ctx context.Context, n int, f func(i int)) {
	parallel := c.Parallel
	if parallel <= 0 {
		parallel = 16
	}
	var working sync.WaitGroup
	var next, done atomic.Int64
	for range min(parallel, n) {
		working.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(i)
				if now := int(done.Add(1)); c.Progress != nil {
					c.Progress(now, n)
				}
			}
		})
	}
	working.Wait()
}
