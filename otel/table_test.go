package nsqotel_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/observe"
	nsqotel "github.com/nsqx/nsqx/otel"
)

// Tests of table.go, inbound.go and tally.go: nsqds, topics and channels come and go.

// from returns a function that handles a message of an nsqd.
func from(tel observe.Telemetry, info observe.ConsumerInfo) func(nsqd string) {
	wrapped := tel.Consumer(info)(func(_ context.Context, m *handler.Message) error {
		(*handler.Delivery)(m).SetOutcome(handler.Outcome{Disposition: handler.Finish})
		return nil
	})
	return func(nsqd string) {
		var m handler.Message
		(*handler.Delivery)(&m).Init(&handler.Read{Source: nowhere{addr: nsqd}}, handler.ID{}, 1, 0, nil)
		_ = wrapped(context.Background(), &m)
	}
}

func consumed(t *testing.T, k *kit) (total int64) {
	t.Helper()
	for _, p := range sum(t, k.collect()["messaging.client.consumed.messages"]) {
		total += p.Value
	}
	return total
}

func address(i int) string { return fmt.Sprintf("10.0.%d.%d:4150", i/256, i%256) }

// Addresses that have gone do not make a message cost more, and lose no count.
func TestManyNSQDs(t *testing.T) {
	for name, opts := range map[string][]nsqotel.Option{"all together": nil, "each nsqd": {nsqotel.WithServerAddress()}} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, append(costs()["noop"], opts...)...)
			k2 := newKit(t, opts...)
			handle, counted := from(k.Telemetry, consumerInfo), from(k2.Telemetry, consumerInfo)
			base := testing.AllocsPerRun(100, func() { handle("nsqd:4150") })
			for i := range 2500 {
				handle(address(i))
				counted(address(i))
				if i%1000 == 999 {
					k2.collect()
				}
			}
			handle("nsqd-2:4150")
			check.Want(t, "allocations", testing.AllocsPerRun(100, func() { handle("nsqd-2:4150") }), base)
			for i := range 1000 { // connected at the same time
				handle(address(i))
			}
			next := 0
			check.Want(t, "allocations of 1000", testing.AllocsPerRun(5000, func() { handle(addresses[next%1000]); next++ }), base)
			check.Want(t, "counted", consumed(t, k2), 2500)
		})
	}
}

var addresses = func() (all []string) {
	for i := range 1000 {
		all = append(all, address(i))
	}
	return all
}()

// Channels come and go: each finished message is counted once, also while tallies are dropped.
func TestManyChannels(t *testing.T) {
	k := newKit(t)
	var wg sync.WaitGroup
	const goroutines, each = 4, 400
	steady := from(k.Telemetry, consumerInfo)
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				info := consumerInfo
				info.Channel = fmt.Sprintf("c%d-%d#ephemeral", g, i)
				from(k.Telemetry, info)("nsqd:4150")
				if steady("nsqd:4150"); i%100 == 0 {
					k.collect()
				}
			}
		})
	}
	wg.Wait()
	check.Want(t, "counted", consumed(t, k), 2*goroutines*each)
}

// BenchmarkManyNSQDs has addresses that come and go: 1000 at a time, of which one in 1000 messages
// is new.
func BenchmarkManyNSQDs(b *testing.B) {
	for name, opts := range map[string][]nsqotel.Option{"together": nil, "each": {nsqotel.WithServerAddress()}} {
		handle := from(nsqotel.New(append(costs()["metrics"], opts...)...), consumerInfo)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				handle(addresses[i%1000])
			}
		})
	}
}
