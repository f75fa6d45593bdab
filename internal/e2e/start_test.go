package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/settings"
)

// TestStart: a consumer starts and stops; a message timeout that nsqd does not allow is said at once,
// with what to do about it, and works where nsqd allows it.
func TestStart(t *testing.T) {
	t.Parallel()
	short := testnsqd.Start(t)
	long := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxMsgTimeout = time.Hour })
	noop := func(context.Context, string) error { return nil }

	began := time.Now()
	err := newConsumer(t, noop, nsqx.WithNSQD(short.Addr()), nsqx.WithMessageTimeout(20*time.Minute)).Start(t.Context())
	if !errors.Is(err, nsqx.ErrNoNSQD) || !strings.Contains(err.Error(), "allows no message timeout of 20m0s") {
		t.Errorf("Start returned %v", err)
	}
	if e, ok := errors.AsType[*conn.Error](err); !ok || !e.Permanent() {
		t.Errorf("the error is not permanent: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}

	o, err := settings.Consumer("nsq://" + long.Addr() + "?msg_timeout=20m&compression=deflate&deflate_level=9")
	if err != nil {
		t.Fatal(err)
	}
	c := newConsumer(t, noop, o)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, long, topic, []byte("x"))
	for until := time.Now().Add(20 * time.Second); c.Stats().Finished == 0; {
		if time.Now().After(until) {
			t.Fatal("the message is not handled")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Errorf("Stop returned %v", err)
	}
}
