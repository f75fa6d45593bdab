package publish

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"testing"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// TestCount: which counter the messages of a publish go to.
func TestCount(t *testing.T) {
	failed := func(kind error, confirmed int) error {
		return &conn.PublishError{Kind: kind, Topic: "orders", Err: io.EOF, Confirmed: confirmed}
	}
	for _, tt := range []struct {
		n                                         int
		err                                       error
		confirmed, rejected, notSent, unconfirmed uint64
	}{
		{n: 5, confirmed: 5},
		{n: 5, err: failed(conn.ErrRejected, 0), rejected: 5},
		{n: 5, err: failed(conn.ErrNotSent, 0), notSent: 5},
		{n: 5, err: failed(conn.ErrUnconfirmed, 0), unconfirmed: 5},
		{n: 5, err: failed(conn.ErrRejected, 2), confirmed: 2, rejected: 3},
		{n: 5, err: failed(conn.ErrNotSent, 4), confirmed: 4, notSent: 1},
		{n: 5, err: failed(conn.ErrUnconfirmed, 3), confirmed: 3, unconfirmed: 2},
		{n: 5, err: fmt.Errorf("wrapped: %w", failed(conn.ErrUnconfirmed, 3)), confirmed: 3, unconfirmed: 2},
		{n: 5, err: io.EOF, notSent: 5},
		{n: 0},
		{n: 0, err: io.EOF},
	} {
		var c counters
		c.count(tt.n, tt.err)
		c.count(tt.n, tt.err)
		name := fmt.Sprintf("%d messages, %v: ", tt.n, tt.err)
		check.Want(t, name+"confirmed", c.confirmed.Load(), 2*tt.confirmed)
		check.Want(t, name+"rejected", c.rejected.Load(), 2*tt.rejected)
		check.Want(t, name+"not sent", c.notSent.Load(), 2*tt.notSent)
		check.Want(t, name+"unconfirmed", c.unconfirmed.Load(), 2*tt.unconfirmed)
		check.Want(t, name+"skipped", c.Skipped(), 0)
	}
}

func TestReject(t *testing.T) {
	var c counters
	err := c.Reject(3, "orders", errCause)
	e := wantKind(t, err, conn.ErrRejected)
	check.Want(t, "topic", e.Topic, "orders")
	check.Want(t, "confirmed", e.Confirmed, 0)
	check.WantErr(t, "cause", err, errCause)
	check.Want(t, "rejected", c.rejected.Load(), 3)
}

// TestRejectHeaders: a header that cannot be sent is a rejected publish, counted once.
func TestRejectHeaders(t *testing.T) {
	header := new(envelope.Writer).Set("no space", "x")
	rejected := &conn.PublishError{Kind: conn.ErrNotSent, Topic: "orders", Err: header}
	for name, tt := range map[string]struct {
		err, want error // want is a kind; nil: unchanged
	}{
		"success":        {nil, nil},
		"other error":    {errCause, nil},
		"header":         {header, conn.ErrRejected},
		"wrapped header": {fmt.Errorf("x: %w", header), conn.ErrRejected},
		"done already":   {rejected, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Router{}
			send := r.RejectHeaders(func(context.Context, *handler.Outgoing) error { return tt.err })
			err := send(t.Context(), message("m0", "m1"))
			if tt.want == nil {
				check.Want(t, "error", err, tt.err)
				check.Want(t, "rejected", r.rejected.Load(), 0)
				return
			}
			e := wantKind(t, err, tt.want)
			check.Want(t, "topic", e.Topic, "orders")
			check.WantErr(t, "cause", err, tt.err)
			check.Want(t, "rejected", r.rejected.Load(), 2)
		})
	}
}

// TestStats: each counter has a field of its own. EventsDropped and Lookups are the publisher's.
func TestStats(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		r := newNSQDs(t).router(Config{}, addrA, addrB)
		r.confirmed.Store(1)
		r.rejected.Store(2)
		r.notSent.Store(3)
		r.unconfirmed.Store(4)
		r.skipped.Store(5)
		s := r.Stats()
		check.Want(t, "connections", len(s.Connections), 2)
		seen := make(map[uint64]string)
		for f, v := range reflect.ValueOf(s).Fields() {
			if v.Kind() == reflect.Uint64 && f.Name != "EventsDropped" {
				if other, ok := seen[v.Uint()]; ok || v.Uint() == 0 {
					t.Errorf("%s is %d, as %s", f.Name, v.Uint(), other)
				}
				seen[v.Uint()] = f.Name
			}
		}
		check.Want(t, "counters", fmt.Sprint(seen), "map[1:Confirmed 2:Rejected 3:NotSent 4:Unconfirmed 5:EnvelopesSkipped]")
	})
}
