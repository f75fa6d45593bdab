package test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// hooksOf returns Hooks of which one field misbehaves.
func hooksOf(field int, m *misbehaviour) (h observe.Hooks) {
	f := reflect.ValueOf(&h).Elem().Field(field)
	f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value { m.do(); return nil }))
	return h
}

// consumerCallbacks are the callbacks of consumers.
func consumerCallbacks() map[string]consumerCallback {
	type options = []nsqx.ConsumerOption
	all := map[string]consumerCallback{
		"handler":      {handle: true},
		"Codec.Decode": {codec: decoding},
		"Policy.Delay": {instead: []string{"WithRetry"}, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { m.do(); return time.Second }))}
		}},
		"Policy.Validate": {made: true, instead: []string{"WithRetry"}, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithRetry(validating{retry.Linear(0, time.Second), m})}
		}},
		"Codec.Validate": {made: true, codec: func(m *misbehaviour) codec.Codec[string] { return validatingCodec{codec.String(), m} }},
		"WithErrors": {opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithErrors(func(error) error { m.do(); return nil })}
		}},
		"WithDeadLetterFunc": {instead: []string{"WithDeadLetter"}, opts: func(d *day, m *misbehaviour) options {
			return options{nsqx.WithDeadLetterFunc(func(_ context.Context, msg *handler.Message, _ error) error {
				m.do()
				d.ledger.end(string(msg.Body))
				return nil
			})}
		}},
		"WithMiddleware": {made: true, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithMiddleware(func(next handler.Raw) handler.Raw { m.do(); return next })}
		}},
		"Middleware before": {opts: func(_ *day, m *misbehaviour) options { return options{nsqx.WithMiddleware(before(m))} }},
		"Middleware after":  {opts: func(_ *day, m *misbehaviour) options { return options{nsqx.WithMiddleware(after(m))} }},
		"WithBatchMiddleware": {made: true, batch: true, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithBatchMiddleware(func(next handler.RawBatch) handler.RawBatch { m.do(); return next })}
		}},
		"BatchMiddleware before": {batch: true, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithBatchMiddleware(aroundBatch(m.do, func() {}))}
		}},
		"BatchMiddleware after": {batch: true, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithBatchMiddleware(aroundBatch(func() {}, m.do))}
		}},
		"handler of batches": {batch: true, handle: true},
		"codec of batches":   {batch: true, codec: decoding},
		"middleware.Only": {opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithMiddleware(middleware.Only(func(*handler.Message) bool { m.do(); return true }, middleware.Recover()))}
		}},
		"middleware.Log": {opts: func(d *day, m *misbehaviour) options {
			return options{nsqx.WithMiddleware(middleware.Log(slog.New(hostileLog{&d.log, "Handle", m})))}
		}},
		"WithDiscoverer": {instead: []string{"WithNSQD"}, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithDiscoverer(nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) {
				m.do()
				return []string{addr}, nil
			}))}
		}},
		"WithNSQDFilter": {instead: []string{"WithNSQD"}, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithNSQDFilter(func(string) bool { m.do(); return true }), named}
		}},
		"LookupdClient.Authorization": {instead: []string{"WithNSQD"}, opts: func(d *day, m *misbehaviour) options {
			client := nsqxtest.NewLookupd(d.t).Client()
			client.Authorization = func(context.Context) (string, error) { m.do(); return "x", nil }
			return options{nsqx.WithLookupd("a:4161"), nsqx.WithLookupdClient(client), named}
		}},
		"LookupdClient.HTTPClient": {instead: []string{"WithNSQD"}, opts: func(d *day, m *misbehaviour) options {
			client := nsqxtest.NewLookupd(d.t).Client()
			client.HTTPClient.Transport = roundTrip{client.HTTPClient.Transport, m}
			return options{nsqx.WithLookupd("a:4161"), nsqx.WithLookupdClient(client), named}
		}},
	}
	for i := range reflect.TypeFor[observe.Hooks]().NumField() {
		name := reflect.TypeFor[observe.Hooks]().Field(i).Name
		all["Hooks."+name] = consumerCallback{harmless: true, drift: name == "OnDrift", opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithHooks(hooksOf(i, m)), named}
		}}
	}
	for _, method := range []string{"Enabled", "Handle", "WithAttrs"} {
		all["slog.Handler."+method] = consumerCallback{harmless: true, silent: true, made: strings.HasPrefix(method, "With"), instead: []string{"WithLogger"}, opts: func(d *day, m *misbehaviour) options {
			return options{nsqx.WithLogger(slog.New(hostileLog{&d.log, method, m}))}
		}}
	}
	for method, made := range map[string]bool{"Consumer": true, "Producer": true, "Hooks": true, "Observe": false, "stop": false,
		"Consumer's middleware": true, "Producer's middleware": true, "Consumer's middleware before": false, "Consumer's middleware after": false, "Producer's middleware before": false, "Producer's middleware after": false} {
		all["Telemetry."+method] = consumerCallback{made: made, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithTelemetry(hostileTelemetry{method: method, m: m})}
		}}
	}
	for _, method := range []string{"DialContext", "AuthSecret", "Read", "Write", "Close", "CloseWrite", "SetReadDeadline", "SetWriteDeadline"} {
		all["conn.Config."+method] = consumerCallback{instead: []string{"WithConn"}, opts: func(d *day, m *misbehaviour) options {
			return options{nsqx.WithConn(hostileConfig(d.config(), method, m))}
		}}
	}
	return all
}

var named = nsqx.WithDiscoverer(nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) { return []string{addr}, nil }))

// hostileConfig returns cfg with a callback, or a method of the net.Conn, that misbehaves. Those of a
// net.Conn do after the first second, when it is connected.
func hostileConfig(cfg conn.Config, method string, m *misbehaviour) conn.Config {
	dial, secret := cfg.DialContext, cfg.AuthSecret
	cfg.AuthSecret = func(ctx context.Context) (string, error) {
		if method == "AuthSecret" {
			m.do()
		}
		return secret(ctx)
	}
	cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if method == "DialContext" {
			m.do()
		}
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		armed := new(atomic.Bool)
		time.AfterFunc(time.Second, func() { armed.Store(true) })
		return &hostileConn{Conn: nc, method: method, do: m.do, armed: armed}, nil
	}
	return cfg
}

func decoding(m *misbehaviour) codec.Codec[string] {
	return codec.Func(func(dst []byte, s string) ([]byte, error) { return append(dst, s...), nil },
		func(b []byte) (string, error) { m.do(); return string(b), nil })
}

func before(m *misbehaviour) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, msg *handler.Message) error { m.do(); return next(ctx, msg) }
	}
}

func after(m *misbehaviour) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, msg *handler.Message) error {
			err := next(ctx, msg)
			m.do()
			return err
		}
	}
}

// aroundBatch calls before and after a handler of batches.
func aroundBatch(before, after func()) handler.BatchMiddleware {
	return func(next handler.RawBatch) handler.RawBatch {
		return func(ctx context.Context, msgs []*handler.Message) error {
			before()
			err := next(ctx, msgs)
			after()
			return err
		}
	}
}

// validating is a policy whose Validate misbehaves.
type validating struct {
	retry.Policy
	m *misbehaviour
}

func (v validating) Validate() error { v.m.do(); return nil }

// validatingCodec is a codec whose Validate misbehaves.
type validatingCodec struct {
	codec.Codec[string]
	m *misbehaviour
}

func (v validatingCodec) Validate() error { v.m.do(); return nil }

// roundTrip misbehaves.
type roundTrip struct {
	http.RoundTripper
	m *misbehaviour
}

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) {
	r.m.do()
	return r.RoundTripper.RoundTrip(req)
}

// hostileLog is a slog.Handler of which one method misbehaves.
type hostileLog struct {
	*logbook
	method string
	m      *misbehaviour
}

func (h hostileLog) misbehave(method string) {
	if h.method == method {
		h.m.do()
	}
}

func (h hostileLog) Enabled(context.Context, slog.Level) bool { h.misbehave("Enabled"); return true }

func (h hostileLog) Handle(ctx context.Context, r slog.Record) error {
	h.misbehave("Handle")
	return h.logbook.Handle(ctx, r)
}

func (h hostileLog) WithAttrs([]slog.Attr) slog.Handler { h.misbehave("WithAttrs"); return h }

func (h hostileLog) WithGroup(string) slog.Handler { h.misbehave("WithGroup"); return h }

// hostileTelemetry is telemetry of which one part misbehaves.
type hostileTelemetry struct {
	observe.NoTelemetry
	method string
	m      *misbehaviour
}

func (h hostileTelemetry) misbehave(method string) {
	if h.method == method {
		h.m.do()
	}
}

func (h hostileTelemetry) Consumer(observe.ConsumerInfo) handler.Middleware {
	h.misbehave("Consumer")
	return func(next handler.Raw) handler.Raw {
		h.misbehave("Consumer's middleware")
		return func(ctx context.Context, m *handler.Message) error {
			h.misbehave("Consumer's middleware before")
			defer h.misbehave("Consumer's middleware after")
			return next(ctx, m)
		}
	}
}

func (h hostileTelemetry) Producer(observe.ProducerInfo) handler.SendMiddleware {
	h.misbehave("Producer")
	return func(next handler.Send) handler.Send {
		h.misbehave("Producer's middleware")
		return func(ctx context.Context, out *handler.Outgoing) error {
			h.misbehave("Producer's middleware before")
			defer h.misbehave("Producer's middleware after")
			return next(ctx, out)
		}
	}
}

func (h hostileTelemetry) Hooks() observe.Hooks { h.misbehave("Hooks"); return observe.Hooks{} }

func (h hostileTelemetry) Observe(func() nsqx.Stats) (stop func()) {
	h.misbehave("Observe")
	return func() { h.misbehave("stop") }
}

func (h hostileTelemetry) ObservePublisher(func() nsqx.PublisherStats) (stop func()) {
	h.misbehave("ObservePublisher")
	return func() { h.misbehave("stop") }
}
