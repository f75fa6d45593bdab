package nsqotel_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
	nsqotel "github.com/nsqx/nsqx/otel"
)

// prefixed is a propagator with one header for each member of the baggage.
type prefixed struct{}

func (prefixed) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	for _, m := range baggage.FromContext(ctx).Members() {
		if key := "uber-" + m.Key(); c.Get(key) == "" {
			c.Set(key, m.Value())
		}
	}
	c.Set("no key", "") // not a valid header
	c.Set("keys", strings.Join(c.Keys(), ","))
}

func (prefixed) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	c.Set("uber-late", "1") // has no effect
	var members []baggage.Member
	for _, key := range c.Keys() {
		if name, ok := strings.CutPrefix(key, "uber-"); ok {
			m, err := baggage.NewMember(name, c.Get(key))
			if err != nil {
				panic(err)
			}
			members = append(members, m)
		}
	}
	bag, err := baggage.New(members...)
	if err != nil {
		panic(err)
	}
	return baggage.ContextWithBaggage(ctx, bag)
}

func (prefixed) Fields() []string { return nil }

func TestForeignPropagator(t *testing.T) {
	k := newKit(t, nsqotel.WithPropagators(prefixed{}))
	var got []string
	c := k.consumer(func(ctx context.Context, _ string) error {
		for _, m := range baggage.FromContext(ctx).Members() {
			got = append(got, m.String())
		}
		return nil
	})
	bag, err := baggage.Parse("a=1,b=2")
	if err != nil {
		t.Fatal(err)
	}
	out := &handler.Outgoing{Topic: "orders", Messages: []handler.OutgoingMessage{{Body: []byte(`"7"`)}}, Envelope: true}
	if err := out.Headers.Set("uber-b", "3"); err != nil { // the user's own
		t.Fatal(err)
	}
	_ = k.publish(baggage.ContextWithBaggage(t.Context(), bag), out, func(_ context.Context, out *handler.Outgoing) error {
		keys, _ := out.Headers.Get("keys")
		check.Want(t, "keys", keys, "uber-b,uber-a")
		nsqxtest.Deliver(t, c, out.Headers.AppendTo(nil, out.Messages[0].Body))
		return nil
	})
	slices.Sort(got)
	check.Want(t, "baggage", strings.Join(got, " "), "a=1 b=3")
	check.Want(t, "links", len(k.spans.Ended()[0].Links()), 0)
}

// Without a topic, the span is named after the operation.
func TestNoTopic(t *testing.T) {
	k := newKit(t)
	_ = k.publish(t.Context(), &handler.Outgoing{}, func(context.Context, *handler.Outgoing) error { return nil })
	check.Want(t, "name", k.span().Name(), "publish")
}
