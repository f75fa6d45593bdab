package gonsq

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

func testProducer(t *testing.T, s *nsqxtest.Server) *Producer {
	t.Helper()
	p, err := newProducer(s.Addr(), NewConfig(), s.DialContext)
	if err != nil {
		t.Fatal(err)
	}
	p.SetLogger(nil, 0)
	t.Cleanup(p.Stop)
	return p
}

func TestPublish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := testProducer(t, s)
		want(t, "String", p.String(), s.Addr())
		want(t, "dials before", s.Dials(), 0)
		want(t, "Ping", p.Ping(), nil)
		want(t, "Publish", p.Publish("orders", []byte("a")), nil)
		want(t, "MultiPublish", p.MultiPublish("orders", [][]byte{[]byte("b"), []byte("c")}), nil)
		want(t, "DeferredPublish", p.DeferredPublish("orders", time.Second, []byte("d")), nil)

		done := make(chan *ProducerTransaction, 3)
		want(t, "PublishAsync", p.PublishAsync("orders", []byte("e"), done, "x", 1), nil)
		want(t, "MultiPublishAsync", p.MultiPublishAsync("orders", [][]byte{[]byte("f")}, done, "x", 1), nil)
		want(t, "DeferredPublishAsync", p.DeferredPublishAsync("orders", time.Second, []byte("g"), done, "x", 1), nil)
		for range 3 {
			tx := <-done
			want(t, "transaction", fmt.Sprint(tx.Error, tx.Args), "<nil> [x 1]")
		}
		want(t, "without a channel", p.PublishAsync("orders", []byte("h"), nil), nil)
		p.Stop()
		p.Stop()
		want(t, "published", len(s.Published("orders")), 8)
		want(t, "dials", s.Dials(), 1)
		for what, err := range map[string]error{
			"Publish": p.Publish("orders", []byte("a")), "Ping": p.Ping(), "PublishAsync": p.PublishAsync("orders", nil, done),
		} {
			if !errors.Is(err, ErrStopped) {
				t.Errorf("%s after Stop: %v", what, err)
			}
		}
	})
}

func TestPublishFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := testProducer(t, s)
		s.Refuse(true)
		began := time.Now()
		if err := p.Publish("orders", []byte("a")); !errors.Is(err, ErrNotConnected) {
			t.Errorf("without nsqd: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		s.Refuse(false)
		time.Sleep(10 * time.Second)
		want(t, "after it is back", p.Publish("orders", []byte("a")), nil)

		for what, err := range map[string]error{
			"topic": p.Publish("bad topic", []byte("a")), "empty": p.Publish("orders", nil), "none": p.MultiPublish("orders", nil),
		} {
			if _, ok := errors.AsType[ErrProtocol](err); !ok || !errors.Is(err, nsqx.ErrRejected) {
				t.Errorf("%s: %v", what, err)
			}
		}
		isErr(t, "negative delay", p.DeferredPublish("orders", -time.Second, []byte("a")), "delay")
		isErr(t, "negative delay", p.DeferredPublishAsync("orders", -time.Second, []byte("a"), nil), "delay")

		s.On("PUB", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.Fail("E_BAD_TOPIC no") })
		err := p.Publish("orders", []byte("a"))
		if e, ok := err.(ErrProtocol); !ok || e.Reason != "E_BAD_TOPIC no" {
			t.Errorf("refused: %T %v", err, err)
		}
		s.On("PUB", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.HangUp() })
		if err := p.Publish("orders", []byte("a")); !errors.Is(err, ErrNotConnected) || !errors.Is(err, nsqx.ErrUnconfirmed) {
			t.Errorf("unconfirmed: %v", err)
		}
		p.Stop()
	})
}

// TestStopProducer: Stop before the first publish, and with transactions that nobody receives.
func TestStopProducer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		testProducer(t, s).Stop()
		want(t, "dials", s.Dials(), 0)

		p := testProducer(t, s)
		want(t, "PublishAsync", p.PublishAsync("orders", []byte("a"), make(chan *ProducerTransaction)), nil)
		began := time.Now()
		p.Stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Stop took %v", took)
		}
		_, err := NewProducer("nowhere", NewConfig())
		isErr(t, "address", err, "nowhere")
		_, err = NewProducer("127.0.0.1:4150", nil)
		isErr(t, "nil Config", err, "nil")
	})
}
