package test

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestDefaultsYield: defaults yield to options given elsewhere, wherever they stand; two of the same rank
// are a fault.
func TestDefaultsYield(t *testing.T) {
	ok := nsqx.WithNSQD(nsqd1)
	noop := func(next handler.Raw) handler.Raw { return next }
	for name, tt := range map[string]struct {
		opts        []nsqx.ConsumerOption
		concurrency int
		want        []string // options with a fault
	}{
		"alone":                   {opts(ok, nsqx.WithDefaults(nsqx.WithConcurrency(3))), 3, nil},
		"replaced":                {opts(ok, nsqx.WithDefaults(nsqx.WithConcurrency(3)), nsqx.WithConcurrency(5)), 5, nil},
		"replaced before":         {opts(ok, nsqx.WithConcurrency(5), nsqx.WithDefaults(nsqx.WithConcurrency(3))), 5, nil},
		"in bundles":              {opts(nsqx.WithDefaults(nsqx.WithConsumerOptions(nsqx.WithOptions(ok), nsqx.WithConcurrency(3))), nsqx.WithConsumerOptions(nsqx.WithConcurrency(5))), 5, nil},
		"of defaults":             {opts(nsqx.WithDefaults(nsqx.WithDefaults(ok, nsqx.WithConcurrency(3)), nil)), 3, nil},
		"twice":                   {opts(ok, nsqx.WithDefaults(nsqx.WithConcurrency(3)), nsqx.WithDefaults(nsqx.WithConcurrency(3))), 0, []string{"WithConcurrency"}},
		"given twice":             {opts(ok, nsqx.WithDefaults(nsqx.WithConcurrency(3)), nsqx.WithConcurrency(5), nsqx.WithConcurrency(6)), 0, []string{"WithConcurrency"}},
		"faulty":                  {opts(ok, nsqx.WithDefaults(nsqx.WithConcurrency(-1))), 0, []string{"WithConcurrency"}},
		"faulty and replaced":     {opts(ok, nsqx.WithDefaults(nsqx.WithConcurrency(-1)), nsqx.WithConcurrency(2)), 2, nil},
		"another end of messages": {opts(ok, nsqx.WithMaxAttempts(3), nsqx.WithDiscard(), nsqx.WithDefaults(nsqx.WithDeadLetter("dead"))), 16, nil},
		"two ends of messages":    {opts(ok, nsqx.WithDefaults(nsqx.WithDiscard(), nsqx.WithDeadLetter("dead"))), 0, []string{"WithDeadLetter"}},
		"backoff":                 {opts(ok, nsqx.WithoutBackoff(), nsqx.WithDefaults(nsqx.WithBackoff(nsqx.Backoff{}))), 16, nil},
		"nothing named":           {opts(nsqx.WithNSQD(), nsqx.WithLookupd(), nsqx.WithDefaults(ok)), 16, nil},
		"middleware adds up":      {opts(ok, nsqx.WithMiddleware(noop), nsqx.WithDefaults(nsqx.WithMiddleware(noop), nsqx.WithMiddleware(noop))), 16, nil},
		"connections twice":       {opts(ok, nsqx.WithConn(conn.Config{}), nsqx.WithDefaults(nsqx.WithConn(conn.Config{}), nsqx.WithConn(conn.Config{}))), 0, []string{"WithConn"}},
	} {
		c, err := nsqx.NewConsumer("orders", "billing", codec.String(), done, tt.opts...)
		if err == nil {
			want(t, name+": concurrency", c.Stats().Concurrency, tt.concurrency)
		}
		got := optionErrors(err)
		want(t, name+": faults", len(got), len(tt.want))
		for i, e := range got {
			want(t, name+": fault", e.Option, tt.want[i])
		}
	}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), done, nsqx.WithLookupd("b:4161"), nsqx.WithDefaults(ok))
	wantErr(t, "other sources", err, nil)
	want(t, "connections", len(c.Stats().Connections), 0)
}

// TestDefaultsOfConnections: an option for connections replaces single fields of the default, so that
// no TLS is lost.
func TestDefaultsOfConnections(t *testing.T) {
	_, err := nsqx.NewPublisher(nsqx.WithNSQD(nsqd1), nsqx.WithConn(conn.Config{DialTimeout: time.Second}),
		nsqx.WithProducerDefaults(nsqx.WithConn(conn.Config{DialTimeout: -1, TLS: &tls.Config{MinVersion: 1}})))
	all := faults(err)
	want(t, "faults", len(all), 1)
	if e, ok := all[0].(*conn.ConfigError); !ok || e.Field != "conn.Config.TLS" {
		t.Errorf("fault is %v", err)
	}
}

// TestDefaultsOfProducers: beside WithPublisher the defaults of connections are ignored.
func TestDefaultsOfProducers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		pub, err := nsqx.NewPublisher(s.Option(), nsqx.WithLogger(discard), nsqx.WithProducerDefaults(nsqx.WithNSQD(nsqd1), nsqx.WithAtLeastOnce()))
		wantErr(t, "publisher", err, nil)
		defer pub.Close()
		p, err := nsqx.NewProducer("orders", codec.String(), nsqx.WithPublisher(pub),
			nsqx.WithProducerDefaults(nsqx.WithNSQD(nsqd1), nsqx.WithConn(conn.Config{}), nsqx.WithEnvelope(), nsqx.WithPublishTimeout(1)))
		wantErr(t, "producer", err, nil)
		wantErr(t, "publish", p.Publish(context.Background(), "x", nsqx.Header("k", "v")), nil)
		want(t, "enveloped", s.Published("orders")[0].Body[0] != 'x', true)
	})
}
