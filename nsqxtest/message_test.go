package nsqxtest_test

import (
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestMessage(t *testing.T) {
	id, _ := handler.ParseID("00000000000000ff")
	accepted := time.Unix(1_700_000_000, 0)
	body := []byte("x")
	m := nsqxtest.Message(body, nsqxtest.WithID(id), nsqxtest.WithTimestamp(accepted))
	body[0] = 'y'
	check.Want(t, "body", string(m.Body), "x")
	check.Want(t, "id", m.ID, id)
	check.Want(t, "attempts", m.Attempts, 1)
	check.Want(t, "timestamp", m.Timestamp(), accepted)
	check.Want(t, "touches before", nsqxtest.Touches(m), 0)
	check.Want(t, "Touch", m.Touch(), nil)
	check.Want(t, "Touch", m.Touch(), nil)
	check.Want(t, "touches", nsqxtest.Touches(m), 2)
	check.Want(t, "touches of another", nsqxtest.Touches(new(handler.Message)), 0)

	lost := nsqxtest.Message(nil, nsqxtest.WithTouch(func() error { return handler.ErrConnLost }))
	check.Want(t, "default id", lost.ID.String(), "0000000000000001")
	check.Want(t, "failed Touch", lost.Touch(), handler.ErrConnLost)
	check.Want(t, "failed touches", nsqxtest.Touches(lost), 1)
}
