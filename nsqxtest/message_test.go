package nsqxtest_test

import (
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestMessage(t *testing.T) {
	id, _ := handler.ParseID("00000000000000ff")
	accepted := time.Unix(1_700_000_000, 0)
	body := []byte("x")
	m := nsqxtest.Message(body, nsqxtest.WithID(id), nsqxtest.WithTimestamp(accepted))
	body[0] = 'y'
	want(t, "body", string(m.Body), "x")
	want(t, "id", m.ID, id)
	want(t, "attempts", m.Attempts, 1)
	want(t, "timestamp", m.Timestamp(), accepted)
	want(t, "touches before", nsqxtest.Touches(m), 0)
	want(t, "Touch", m.Touch(), nil)
	want(t, "Touch", m.Touch(), nil)
	want(t, "touches", nsqxtest.Touches(m), 2)
	want(t, "touches of another", nsqxtest.Touches(new(handler.Message)), 0)

	lost := nsqxtest.Message(nil, nsqxtest.WithTouch(func() error { return handler.ErrConnLost }))
	want(t, "default id", lost.ID.String(), "0000000000000001")
	want(t, "failed Touch", lost.Touch(), handler.ErrConnLost)
	want(t, "failed touches", nsqxtest.Touches(lost), 1)
}
