package e2e

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// canary is a secret that must not appear anywhere.
const canary = "canary-5ec7e7-0123456789"

func secret(context.Context) (string, error) { return canary, nil }

// transport is a way to connect to nsqd.
type transport struct {
	name string
	nsqd []func(*nsqd.Options)
	conn conn.Config

	opaque bool // bodies must not appear on the wire
}

// transports returns all transports. Their auth server runs until tb ends.
func transports(tb testing.TB) []transport {
	ca := testnsqd.NewAuthority(tb)
	auth := testnsqd.StartAuth(tb)
	anonymous, known := ca.ClientConfig(), ca.ClientConfig(ca.Client)
	options := func(o ...func(*nsqd.Options)) []func(*nsqd.Options) { return o }
	return []transport{
		{name: "plain"},
		{name: "tls", nsqd: options(ca.RequireTLS), conn: conn.Config{TLS: anonymous}, opaque: true},
		{name: "mtls", nsqd: options(ca.RequireClientCert), conn: conn.Config{TLS: known}, opaque: true},
		{name: "snappy", conn: conn.Config{Compression: conn.Snappy}},
		{name: "deflate", conn: conn.Config{Compression: conn.Deflate}},
		{name: "tls and snappy", nsqd: options(ca.RequireTLS), conn: conn.Config{TLS: anonymous, Compression: conn.Snappy}, opaque: true},
		{name: "tls and deflate", nsqd: options(ca.RequireTLS), conn: conn.Config{TLS: anonymous, Compression: conn.Deflate}, opaque: true},
		{name: "auth", nsqd: options(auth.Require), conn: conn.Config{AuthSecret: secret, AllowPlaintextAuth: true}},
		{name: "auth and tls", nsqd: options(auth.Require, ca.RequireTLS),
			conn: conn.Config{AuthSecret: secret, RequireAuth: true, TLS: anonymous}, opaque: true},
	}
}

// mixedBodies returns n bodies, from tiny to several read blocks, half of them incompressible.
func mixedBodies(n int) (bodies [][]byte) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		size := 16 + random.IntN(400)
		switch {
		case i%50 == 7:
			size = 300<<10 + random.IntN(1000)
		case i%10 == 3:
			size = random.IntN(40 << 10)
		}
		body := fmt.Appendf(nil, "#300-%d-%d ", i, max(size, 16))
		for len(body) < size {
			if i%2 == 0 {
				body = append(body, byte(random.Uint32()))
			} else {
				body = append(body, 'x')
			}
		}
		bodies = append(bodies, body[:max(size, 16)])
	}
	return bodies
}

func sum(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// authorized is for an nsqd that requires AUTH.
var authorized = conn.Config{AuthSecret: secret, AllowPlaintextAuth: true}
