package nsqotel_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	nsqotel "github.com/nsqx/nsqx/otel"
)

func TestHooks(t *testing.T) {
	k := newKit(t)
	event := func(err error) observe.ConnEvent {
		return observe.ConnEvent{NSQD: nsqd1, Topic: "orders", Channel: "billing", Err: err}
	}
	h := k.Telemetry.Hooks()
	h.OnDialError(event(errBill))
	h.OnDialError(event(protocolError(t, "E_UNAUTHORIZED AUTH failed")))
	h.OnConnect(event(nil))
	h.OnRefused(event(protocolError(t, "E_FIN_FAILED FIN failed")))
	h.OnRefused(event(protocolError(t, "E_FIN_FAILED FIN failed")))
	h.OnDisconnect(event(protocolError(t, "E_INVALID nonsense")))
	h.OnDisconnect(event(nil))
	k.wantPoints("nsq.client.connection.attempts", "1\n1 error.type=*errors.errorString\n1 error.type=E_UNAUTHORIZED")
	k.wantPoints("nsq.client.connection.closed", "1\n1 error.type=E_INVALID")
	k.wantPoints("nsq.client.protocol.errors", "1 error.type=E_INVALID\n1 error.type=E_UNAUTHORIZED\n2 error.type=E_FIN_FAILED")
}

func TestLookups(t *testing.T) {
	k := newKit(t, nsqotel.WithServerAddress())
	h := k.Telemetry.Hooks()
	for _, e := range []observe.LookupEvent{
		{Source: "lookupd-1:4161", Found: 3},
		{Source: "lookupd-1:4161", Err: errors.New("down")},
		{Source: "lookupd-2:4161", Found: 2, Err: errors.New("in part")},
		{Source: "*consul.Discoverer", Found: 1},
	} {
		e.Topic, e.Channel, e.Duration = "orders", "billing", time.Second
		h.OnLookup(e)
	}
	k.wantPoints("nsq.client.lookup.duration", "1×, 1s\n"+
		"1×, 1s error.type=*errors.errorString server.address=lookupd-1 server.port=4161\n"+
		"1×, 1s error.type=*errors.errorString server.address=lookupd-2 server.port=4161\n"+
		"1×, 1s server.address=lookupd-1 server.port=4161")
}

// A nsqlookupd that refuses has its status for an error type, not a type of nsqx.
func TestLookupRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		l := nsqxtest.NewLookupd(t)
		l.On("/lookup", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no such page", http.StatusNotFound) // not that of a nsqlookupd without the topic
		}))
		c, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { return nil },
			l.Option(), nsqx.WithLogger(discard), nsqx.WithTelemetry(k.Telemetry))
		if err != nil {
			t.Fatal(err)
		}
		nsqxtest.Run(t, c)
		synctest.Wait()
		k.wantPoints("nsq.client.lookup.duration", "1×, 0s error.type=404")
	})
}

func TestGivenBack(t *testing.T) {
	k := newKit(t)
	for range 2 {
		k.Telemetry.Hooks().OnGivenBack(observe.GivenBackEvent{Topic: "orders", Channel: "billing", Reason: "stall", Messages: 3})
	}
	k.wantPoints("nsq.consumer.given_back", "6 messaging.nsq.given_back.reason=stall")
}
