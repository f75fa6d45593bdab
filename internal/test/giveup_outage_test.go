package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestAllFail is the table "In an outage" of docs/guide/retries-and-dead-letters.md: which messages are
// given up for their attempts if all fail for ever.
func TestAllFail(t *testing.T) {
	without := nsqx.WithoutBackoff()
	for _, tt := range []struct {
		messages int
		opt      nsqx.ConsumerOption
		soon     uint64 // dead letters after a minute and a half
		later    uint64 // after three hours
	}{{1, nil, 1, 1}, {2, nil, 0, 2}, {9, nil, 0, 9}, {10, nil, 0, 0}, {30, nil, 0, 0}, {9, without, 9, 9}, {30, without, 30, 30}} {
		bubble(t, fmt.Sprint(tt.messages, " messages, breaker ", tt.opt == nil), func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 1)
			fails := func(context.Context, string) error { return errBill }
			c, _ := consume(t, servers, fails, nsqx.WithMaxAttempts(6), nsqx.WithDeadLetter("dead"), tt.opt)
			publish(servers[0], tt.messages)
			time.Sleep(90 * time.Second)
			want(t, "dead letters soon", c.Stats().DeadLettered, tt.soon)
			time.Sleep(118 * time.Minute)
			want(t, "dead letters before two hours", c.Stats().DeadLettered, tt.soon)
			time.Sleep(time.Hour)
			want(t, "dead letters later", c.Stats().DeadLettered, tt.later)
		})
	}
}

// TestRestartInAnOutage: a process that starts in an outage gives up nine messages at most, then it knows.
func TestRestartInAnOutage(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1)
		fails := func(context.Context, string) error { return errBill }
		opts := opts(nsqx.WithMaxAttempts(3), nsqx.WithDeadLetter("dead"))
		_, stop := consume(t, servers, fails, opts...)
		publish(servers[0], 30)
		time.Sleep(3 * time.Hour)
		stop()
		c, _ := consume(t, servers, fails, opts...)
		time.Sleep(3 * time.Hour)
		want(t, "dead letters", c.Stats().DeadLettered, uint64(9))
	})
}
