package nsqx_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// Transfer is a payment from an account.
type Transfer struct {
	ID, Account string
	Cents       int
}

// A transfer is published twice, since the first publish was not confirmed, say. Both messages have
// the same UID, so the handler books it once.
func ExampleWithMessageID() {
	nsqd := nsqxtest.NewServer(identityT{}) // in memory; a service names its nsqds with WithNSQD or WithLookupd
	defer nsqd.Close()
	opts := nsqx.WithOptions(nsqd.Option(), nsqx.WithLogger(slog.New(slog.DiscardHandler)))

	producer, err := nsqx.NewProducer("transfers", codec.JSON[Transfer](), opts,
		nsqx.WithMessageID(func(t Transfer) string { return t.ID }),
		nsqx.WithKey(func(t Transfer) string { return t.Account }),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer producer.Close()

	var booked sync.Map // a service keeps it in the transaction that books
	consumer, err := nsqx.NewConsumer("transfers", "book", codec.JSON[Transfer](), func(ctx context.Context, t Transfer) error {
		m := handler.FromContext(ctx)
		if _, known := booked.LoadOrStore(m.UID(), t); known {
			fmt.Println("known:", m.UID())
			return nil
		}
		fmt.Println("booked:", m.UID(), "of account", m.Key())
		return nil
	}, opts, nsqx.WithConcurrency(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- consumer.Run(ctx) }()

	for range 2 {
		if err := producer.Publish(ctx, Transfer{"tx-7", "acme", 500}); err != nil {
			fmt.Println(err)
		}
	}
	nsqd.Await("transfers", "book", func(st nsqxtest.ChannelStats) bool { return st.Finished == 2 })
	cancel()
	fmt.Println("ended:", <-ended)
	// Output:
	// booked: tx-7 of account acme
	// known: tx-7
	// ended: <nil>
}

// A message that nobody gets before its time, even if that is in three days: nsqd keeps it for an hour
// at most, and consumers give it back until its time has come.
func ExampleProducer_PublishAt() {
	nsqd := nsqxtest.NewServer(identityT{})
	defer nsqd.Close()
	opts := nsqx.WithOptions(nsqd.Option(), nsqx.WithLogger(slog.New(slog.DiscardHandler)))

	due := time.Now().Add(200 * time.Millisecond)
	consumer, err := nsqx.NewConsumer("reminders", "mail", codec.String(), func(_ context.Context, text string) error {
		fmt.Println(text, "- early:", time.Now().Before(due))
		return nil
	}, opts, nsqx.WithConcurrency(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	reminders, err := nsqx.NewProducer("reminders", codec.String(), opts, nsqx.WithEnvelope())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reminders.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- consumer.Run(ctx) }()

	if err := reminders.PublishAt(ctx, due, "pay the rent"); err != nil {
		fmt.Println(err)
	}
	if err := reminders.Publish(ctx, "call home"); err != nil {
		fmt.Println(err)
	}
	nsqd.Await("reminders", "mail", func(st nsqxtest.ChannelStats) bool { return st.Finished == 2 })
	cancel()
	fmt.Println("ended:", <-ended)
	// Output:
	// call home - early: true
	// pay the rent - early: false
	// ended: <nil>
}

// Options of one publish: a header, a time and an end.
func ExampleAt() {
	nsqd := nsqxtest.NewServer(identityT{})
	defer nsqd.Close()
	offers, err := nsqx.NewProducer("offers", codec.String(),
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithTTL(24*time.Hour), // of all, unless a publish says otherwise
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer offers.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	opening := time.Now().Add(3 * 24 * time.Hour)
	err = offers.Publish(ctx, "shoes, half price",
		nsqx.Header("tenant", "acme"),
		nsqx.At(opening),
		nsqx.TTL(time.Hour), // from opening
	)
	fmt.Println(err)
	m := nsqxtest.Message(nsqd.Published("offers")[0].Body) // as a consumer gets it
	fmt.Println(m.Header("tenant"), m.NotBefore().Equal(opening.UTC()), m.Expires().Sub(m.NotBefore()))
	// Output:
	// <nil>
	// acme true 1h0m0s
}

// After an outage of a day nobody wants yesterday's prices.
func ExampleWithSkipOlder() {
	consumer, err := nsqx.NewConsumer("prices", "shop", codec.String(), func(_ context.Context, price string) error {
		fmt.Println("new price:", price)
		return nil
	}, nsqx.WithNSQD("127.0.0.1:4150"), nsqx.WithSkipOlder(time.Hour))
	if err != nil {
		fmt.Println(err)
		return
	}
	yesterday := nsqxtest.WithTimestamp(time.Now().Add(-24 * time.Hour))
	out := nsqxtest.Deliver(identityT{}, consumer, []byte("7.50"), yesterday)
	fmt.Println(out.Disposition, consumer.Stats().Stale)
	fmt.Println(nsqxtest.Deliver(identityT{}, consumer, []byte("8.00")).Disposition)
	// Output:
	// drop 1
	// new price: 8.00
	// finish
}

// identityT replaces the *testing.T of a test, which an example does not have.
type identityT struct{ testing.TB }

func (identityT) Helper()                           {}
func (identityT) Cleanup(func())                    {}
func (identityT) Context() context.Context          { return context.Background() }
func (identityT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (identityT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
