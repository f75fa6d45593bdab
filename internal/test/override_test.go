package test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/override"
)

// TestOverride: an override decides where the consumer connects to, whatever options stand before
// or after it.
func TestOverride(t *testing.T) {
	bubble(t, "addresses and connection", func(t *testing.T) {
		d := newNSQDs(t, nsqd2)
		over := nsqx.WithDiscoverer(&override.Nodes{Addrs: []string{nsqd2}, Edit: func(c *conn.Config) {
			want(t, "ClientID", c.ClientID, "me")
			c.DialContext, c.ClientID = d.net.DialContext, "edited"
		}})
		production := []nsqx.ConsumerOption{nsqx.WithNSQD(nsqd1), nsqx.WithLookupd("lookupd:4161"), nsqx.WithConn(conn.Config{ClientID: "me"}), nsqx.WithLogger(discard)}
		for _, opts := range [][]nsqx.ConsumerOption{
			append(production[:3:3], over),
			append([]nsqx.ConsumerOption{over}, production...),
		} {
			c, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { return nil }, opts...)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
		}
		want(t, "connections", len(d.all(nsqd2, true)), 2)
		want(t, "dials", d.net.Dials(), 2)
	})
}

func TestOverrideFaults(t *testing.T) {
	over := func(addrs ...string) nsqx.Option { return nsqx.WithDiscoverer(&override.Nodes{Addrs: addrs}) }
	for text, opts := range map[string][]nsqx.ConsumerOption{
		"nsqxtest.Option is given twice":                            {over(nsqd1), over(nsqd1)},
		"nsqxtest.Option got no server":                             {over()},
		"nsqxtest.Option got two servers with the address " + nsqd1: {over(nsqd1, nsqd1)},
		"WithNSQD has a faulty address":                             {nsqx.WithNSQD("nowhere"), over(nsqd1)},
		"conn.Config.DialTimeout":                                   {nsqx.WithConn(conn.Config{DialTimeout: 1}), over(nsqd1)},
	} {
		_, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { return nil }, opts...)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %s", err, text)
		}
	}
}
