package nsqxtest_test

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

// Option replaces addresses, dialer, TLS and compression, and nothing else.
func TestOption(t *testing.T) {
	production := conn.Config{
		TLS: new(tls.Config), Compression: conn.Deflate, DeflateLevel: 3, ClientID: "billing-7",
		AuthSecret: func(context.Context) (string, error) { return "s3cret", nil }, RequireAuth: true,
	}
	options := []nsqx.ConsumerOption{nsqx.WithNSQD("nsqd.prod:4150"), nsqx.WithConn(production)}
	handle := func(context.Context, string) error { return nil }
	for name, order := range map[string]func(o nsqx.Option) []nsqx.ConsumerOption{
		"first": func(o nsqx.Option) []nsqx.ConsumerOption { return append([]nsqx.ConsumerOption{o}, options...) },
		"last":  func(o nsqx.Option) []nsqx.ConsumerOption { return append(options[:2:2], o) },
		"bundled": func(o nsqx.Option) []nsqx.ConsumerOption {
			return append(options[:2:2], nsqx.WithConsumerOptions(nsqx.WithOptions(o)))
		},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			nsqxtest.Run(t, consumer(t, handle, order(s.Option())...))
			s.Publish("orders", []byte("x"))
			s.Await("orders", "billing", finished(1))
			check.Want(t, "client_id", s.Conns()[0].Identify()["client_id"], any("billing-7"))
			check.Want(t, "tls_v1", s.Conns()[0].Identify()["tls_v1"], any(false))
			check.Want(t, "AUTH", string(s.Commands("AUTH")[0].Body), "s3cret")
		})
	}
	for text, opts := range map[string][]nsqx.ConsumerOption{
		"nsqxtest.Option is given twice":                     {nsqxtest.NewServer(t).Option(), nsqxtest.NewServer(t).Option()},
		"got no server":                                      {nsqxtest.Option()},
		"two servers with the address nsqd-1.test:4150":      {nsqxtest.Option(nsqxtest.NewServer(t), nsqxtest.NewServer(t))},
		"WithNSQD has a faulty address: address production:": {nsqx.WithNSQD("production"), nsqxtest.NewServer(t).Option()},
		"conn.Config.DeflateLevel":                           {nsqx.WithConn(conn.Config{DeflateLevel: 3}), nsqxtest.NewServer(t).Option()},
	} {
		if _, err := nsqx.NewConsumer("orders", "billing", codec.String(), handle, opts...); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %s", err, text)
		}
	}
}

// Each consumer has its own sum, over all servers.
func TestMaxInFlightCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := new(recorder)
		check := nsqxtest.WithMaxInFlightCheck(4, time.Millisecond)
		servers := nsqxtest.NewServers(tb, 2, check)
		option := nsqxtest.Option(servers...)
		handle := func(context.Context, string) error { return nil }
		stop := nsqxtest.Run(t, consumer(t, handle, nsqx.WithMaxInFlight(4), option))
		stopOther := nsqxtest.Run(t, consumer(t, handle, nsqx.WithMaxInFlight(4), option))
		flood := func() {
			for _, s := range servers {
				for range 100 {
					s.Publish("orders", []byte("x"))
				}
			}
			time.Sleep(time.Second)
		}
		flood()
		wantList(t, "reported", tb.reported())
		stop()
		stopOther()

		slow := func(context.Context, string) error {
			time.Sleep(5 * time.Second)
			return nil
		}
		stopLarge := nsqxtest.Run(t, consumer(t, slow, nsqx.WithMaxInFlight(64), nsqx.WithConcurrency(64), option))
		flood()
		stopLarge()
		tb.end()
		if got := tb.reported(); len(got) == 0 || !strings.Contains(got[0], "max-in-flight: the consumer's RDY counts add up to") {
			t.Errorf("reported %q, want the sum", got)
		}
	})
}
