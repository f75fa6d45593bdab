package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// A handler of batches inserts many rows with one statement, and says which of them can never be
// inserted.
func ExampleNewBatchConsumer() {
	insert := func(ctx context.Context, b *handler.Batch[Order]) error {
		for i, item := range b.All() {
			if item.Value.Cents < 0 {
				b.Fail(i, retry.Permanent(errors.New("negative amount")))
			}
		}
		fmt.Println("insert", b.Len(), "rows:", b.Values())
		return nil
	}
	consumer, err := nsqx.NewBatchConsumer("orders", "warehouse", codec.JSON[Order](), insert,
		nsqx.WithLookupd("127.0.0.1:4161"),
		nsqx.WithBatch(500, time.Second),
		nsqx.WithDiscard(),
	)
	if err != nil {
		fmt.Println(err)
		return
	}

	// ProcessBatch takes the place of nsqd; in tests, nsqxtest.DeliverBatch does.
	var msgs []*handler.Message
	for _, body := range []string{`{"id":1,"cents":900}`, `{"id":2,"cents":-1}`, `{"id":3`} {
		msgs = append(msgs, nsqxtest.Message([]byte(body)))
	}
	consumer.ProcessBatch(context.Background(), msgs)
	for _, m := range msgs {
		fmt.Println(m.Outcome().Disposition, m.Outcome().Err)
	}
	// Output:
	// insert 2 rows: [{1 900} {2 -1}]
	// finish <nil>
	// drop permanent: negative amount
	// drop nsqx: payload does not decode: codec.JSON[nsqx_test.Order]: decode: unexpected end of JSON input
}
