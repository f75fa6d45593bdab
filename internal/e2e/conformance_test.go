package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/nsqxtest"
)

// The settings of every nsqd of TestConformance.
const (
	conformMsgTimeout = time.Minute
	// conformMaxMsgTimeout is shorter than usual, so that a test reaches it.
	conformMaxMsgTimeout = 1500 * time.Millisecond
	conformMaxReqTimeout = 300 * time.Millisecond
	conformHeartbeat     = 500 * time.Millisecond
	conformMaxRDY        = 10
	conformMaxMsgSize    = 1024
	conformMaxBodySize   = 5 << 20 // nsqd's default
)

// plainNSQD is what a conformance case needs of an nsqd.
type plainNSQD interface {
	dial(t testing.TB) net.Conn
	stats(topic string) channelCounts
	pause(topic string, pause bool)
}

// channelCounts is the state of the channel "billing" of a topic.
type channelCounts struct{ depth, inFlight, deferred, clients int }

// target is a kind of nsqd and a way to reach it.
type target struct {
	name string
	asks map[string]any // of IDENTIFY
	tls  *tls.Config
	auth bool

	memory bool // nsqxtest.Server in virtual time

	// run runs a case against an nsqd.
	run func(t *testing.T, fn func(t testing.TB, s plainNSQD))
}

// slowCases reports whether slow cases run on x: their result does not depend on the transport.
func slowCases(x *target) bool { return x.plain() || x.memory }

// plain reports whether the connection needs only IDENTIFY.
func (x *target) plain() bool { return len(x.asks) == 0 && !x.auth }

// targets returns nsqd over each transport, and nsqxtest.Server as far as it supports them.
func targets(t *testing.T) []target {
	ca := testnsqd.NewAuthority(t)
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("secret") != canary {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"ttl":3600,"identity":"nsqxtest","authorizations":[{"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}]}`)
	}))
	t.Cleanup(auth.Close)
	real := func(mutate ...func(*nsqd.Options)) func(*testing.T, func(testing.TB, plainNSQD)) {
		s := testnsqd.Start(t, append(mutate, conformOptions)...)
		return func(t *testing.T, fn func(testing.TB, plainNSQD)) {
			steady(t, func(t testing.TB) { fn(t, realNSQD{s}) })
		}
	}
	authorized := func(o *nsqd.Options) { o.AuthHTTPAddresses = []string{auth.URL + "/auth"} }
	plain, overTLS := real(), real(ca.Serve)
	with := func(key string) map[string]any { return map[string]any{key: true} }
	return []target{
		{name: "nsqd", run: plain},
		{name: "nsqd over TLS", asks: with("tls_v1"), tls: ca.ClientConfig(), run: overTLS},
		{name: "nsqd over snappy", asks: with("snappy"), run: plain},
		{name: "nsqd over deflate", asks: with("deflate"), run: plain},
		{name: "nsqd over TLS and deflate", asks: map[string]any{"tls_v1": true, "deflate": true}, tls: ca.ClientConfig(), run: overTLS},
		{name: "nsqd with auth", auth: true, run: real(authorized)},
		{name: "server", memory: true, run: inMemory()},
		{name: "server over deflate", asks: with("deflate"), memory: true, run: inMemory()},
		{name: "server with auth", auth: true, memory: true, run: inMemory(nsqxtest.WithAuth(canary))},
	}
}

func conformOptions(o *nsqd.Options) {
	o.MsgTimeout, o.MaxMsgTimeout, o.MaxReqTimeout = conformMsgTimeout, conformMaxMsgTimeout, conformMaxReqTimeout
	o.ClientTimeout = 2 * conformHeartbeat
	o.MaxRdyCount, o.MaxMsgSize, o.MaxBodySize = conformMaxRDY, conformMaxMsgSize, conformMaxBodySize
}

type realNSQD struct{ *testnsqd.Server }

func (s realNSQD) dial(t testing.TB) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func (s realNSQD) stats(topic string) channelCounts {
	st := s.Channel(topic, channel)
	return channelCounts{int(st.Depth), st.InFlight, st.Deferred, st.Clients}
}

func (s realNSQD) pause(topic string, pause bool) {
	s.EnsureChannel(topic, channel)
	what := "unpause"
	if pause {
		what = "pause"
	}
	s.Do("/channel/" + what + "?topic=" + topic + "&channel=" + channel)
}

// inMemory runs each case against its own nsqxtest.Server in a synctest bubble. The server does not
// check its clients, which violate the protocol on purpose.
func inMemory(opts ...nsqxtest.ServerOption) func(*testing.T, func(testing.TB, plainNSQD)) {
	opts = append(opts, nsqxtest.WithoutChecks(),
		nsqxtest.WithMessageTimeout(conformMsgTimeout), nsqxtest.WithMaxMessageTimeout(conformMaxMsgTimeout),
		nsqxtest.WithMaxRequeueTimeout(conformMaxReqTimeout), nsqxtest.WithHeartbeat(conformHeartbeat),
		nsqxtest.WithMaxRDY(conformMaxRDY), nsqxtest.WithMaxMessageSize(conformMaxMsgSize),
		nsqxtest.WithOutputBuffer(16384, 5*time.Millisecond))
	return func(t *testing.T, fn func(testing.TB, plainNSQD)) {
		synctest.Test(t, func(t *testing.T) { fn(t, memoryNSQD{nsqxtest.NewServer(t, opts...)}) })
	}
}

type memoryNSQD struct{ *nsqxtest.Server }

func (s memoryNSQD) dial(t testing.TB) net.Conn {
	t.Helper()
	nc, err := s.DialContext(context.Background(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func (s memoryNSQD) stats(topic string) channelCounts {
	st := s.Stats(topic, channel)
	return channelCounts{st.Depth, st.InFlight, st.Deferred, st.Subscribers}
}

func (s memoryNSQD) pause(topic string, pause bool) {
	if pause {
		s.Pause(topic, channel)
	} else {
		s.Unpause(topic, channel)
	}
}

// bench is a case's nsqd, its target, and a topic of its own.
type bench struct {
	testing.TB
	plainNSQD
	target *target
	topic  string
}

// conformCase is one property of nsqd.
type conformCase struct {
	name string
	on   func(*target) bool // selects targets; nil for all
	do   func(b *bench)
}

// TestConformance checks the behaviour of nsqd that nsqx relies on, with correct and with wrong
// clients. nsqxtest.Server must not differ from nsqd: tests of users would not notice.
func TestConformance(t *testing.T) {
	t.Parallel()
	var topics atomic.Int64
	cases := slices.Concat(identifyCases(), consumeCases(), answerCases(), publishCases(), refusalCases(), heartbeatCases())
	for _, x := range targets(t) {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range cases {
				if c.on != nil && !c.on(&x) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					x.run(t, func(t testing.TB, s plainNSQD) {
						c.do(&bench{t, s, &x, fmt.Sprint("topic_", topics.Add(1))})
					})
				})
			}
		})
	}
}

// connect performs the handshake up to AUTH. asks is added to the target's.
func (b *bench) connect(asks map[string]any) *plainClient {
	b.Helper()
	c, _ := b.identify(asks)
	if b.target.auth {
		c.send("%s", withBody("AUTH", canary))
		c.expect(`{"identity":"nsqxtest","identity_url":"","permission_count":1}`)
	}
	return c
}

// identify performs the handshake up to IDENTIFY and the upgrades.
func (b *bench) identify(asks map[string]any) (*plainClient, map[string]any) {
	b.Helper()
	all := map[string]any{"feature_negotiation": true}
	maps.Copy(all, b.target.asks)
	maps.Copy(all, asks)
	c := newPlainClient(b.TB, b.dial(b.TB))
	return c, c.identify(all, b.target.tls)
}

// bare returns a client that has sent only the magic bytes.
func (b *bench) bare() *plainClient {
	c := newPlainClient(b.TB, b.dial(b.TB))
	c.listen(c.nc)
	return c
}

// subscribe is connect, SUB and RDY.
func (b *bench) subscribe(rdy int, asks map[string]any) *plainClient {
	b.Helper()
	c := b.connect(asks)
	c.send("SUB %s %s\n", b.topic, channel)
	c.expect("OK")
	c.send("RDY %d\n", rdy)
	return c
}

// publish publishes bodies to the topic over its own connection.
func (b *bench) publish(bodies ...string) {
	b.Helper()
	c := b.connect(nil)
	for _, body := range bodies {
		c.send("%s", withBody("PUB "+b.topic, body))
		c.expect("OK")
	}
	c.close()
}

func (b *bench) settles(want channelCounts) {
	b.Helper()
	eventually(b, func() bool { return b.stats(b.topic) == want }, "%+v to become %+v", b.stats(b.topic), want)
}
