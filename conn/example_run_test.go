package conn_test

import (
	"context"
	"testing"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestExample runs the functions of the package example, which needs an nsqd.
func TestExample(t *testing.T) {
	srv := nsqxtest.NewServer(t)
	cfg := conn.Config{DialContext: srv.DialContext, Compression: conn.Snappy, CompressionOptional: true}
	if err := publish(t.Context(), srv.Addr(), cfg, "orders", "order 1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	consumed := make(chan error, 1)
	go func() {
		consumed <- consume(ctx, srv.Addr(), cfg, &conn.Subscription{Topic: "orders", Channel: "billing"})
	}()
	st := srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })
	if st.Finished != 1 {
		t.Errorf("%d messages finished, want 1", st.Finished)
	}
	cancel()
	if err := <-consumed; err != nil {
		t.Error(err)
	}
}
