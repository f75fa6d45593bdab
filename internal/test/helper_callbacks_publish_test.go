package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// publisherCallback is a callback of a producer: see consumerCallback.
type publisherCallback struct {
	opts    func(d *day, m *misbehaviour) []nsqx.ProducerOption
	instead []string
	codec   func(m *misbehaviour) codec.Codec[string]
	done    bool // the func of PublishAsync misbehaves

	made, silent, harmless bool
}

// closeEnds is how long Close of the producer of the day waits.
const closeEnds = 3 * time.Second

// producer makes the producer of the day.
func (d *day) producer(row publisherCallback, m *misbehaviour) (*nsqx.Producer[string], error) {
	own := []nsqx.ProducerOption{nsqx.WithCloseTimeout(closeEnds)}
	if row.opts != nil {
		own = append(own, row.opts(d, m)...)
	}
	for option, opt := range map[string]nsqx.ProducerOption{
		"WithNSQD":   nsqx.WithNSQD(addr),
		"WithConn":   nsqx.WithConn(d.config()),
		"WithLogger": nsqx.WithLogger(slog.New(&d.log)),
	} {
		if !slices.Contains(row.instead, option) {
			own = append(own, opt)
		}
	}
	cdc := codec.String()
	if row.codec != nil {
		cdc = row.codec(m)
	}
	return nsqx.NewProducer("orders", cdc, own...)
}

var (
	errEnded = errors.New("runtime.Goexit has ended the caller")
	errHangs = errors.New("it has not returned")
)

// calls calls f, which is user code, too, and waits for it.
func (d *day) calls(f func() error) error {
	result := make(chan error, 3)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				d.t.Errorf("the caller has panicked: %v", p)
			}
			result <- errEnded
		}()
		result <- f()
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(10 * time.Second):
		return errHangs
	}
}

// publishAll publishes for a day, closes the producer, and returns the errors and how long Close took.
func (d *day) publishAll(p *nsqx.Producer[string], done func()) (failed int, took time.Duration, closed error) {
	time.Sleep(time.Second)
	d.server.Refuse(false)
	for i := range 12 {
		if i == 6 {
			d.server.ResetConns()
		}
		time.Sleep(2 * time.Second)
		body := fmt.Sprint("message ", i)
		err := d.calls(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if i%3 > 0 {
				return p.Publish(ctx, body)
			}
			result := make(chan error, 1)
			if err := p.PublishAsync(ctx, body, func(err error) { result <- err; done() }); err != nil {
				return err
			}
			return <-result
		})
		found := 0
		for _, p := range d.server.Published("orders") {
			if _, payload, _ := envelope.Split(p.Body); string(payload) == body {
				found++
			}
		}
		if err == nil && found != 1 || (errors.Is(err, nsqx.ErrNotSent) || errors.Is(err, nsqx.ErrRejected)) && found > 0 {
			d.t.Errorf("%q is there %d times, its error is %v", body, found, err)
		}
		if err != nil {
			failed++
		}
	}
	began := time.Now()
	closed = d.calls(p.Close)
	return failed, time.Since(began), closed
}

// publisherCallbacks are the callbacks of publishers and producers.
func publisherCallbacks() map[string]publisherCallback {
	type options = []nsqx.ProducerOption
	sends := func(before bool) func(*day, *misbehaviour) options {
		return func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithSendMiddleware(func(next handler.Send) handler.Send {
				return func(ctx context.Context, out *handler.Outgoing) error {
					if before {
						m.do()
						return next(ctx, out)
					}
					err := next(ctx, out)
					m.do()
					return err
				}
			})}
		}
	}
	all := map[string]publisherCallback{
		"Codec.Append": {codec: func(m *misbehaviour) codec.Codec[string] {
			return codec.Func(func(dst []byte, s string) ([]byte, error) { m.do(); return append(dst, s...), nil }, func(b []byte) (string, error) { return string(b), nil })
		}},
		"Codec.Validate":       {made: true, codec: func(m *misbehaviour) codec.Codec[string] { return validatingCodec{codec.String(), m} }},
		"done of PublishAsync": {done: true, harmless: true},
		"WithSendMiddleware": {made: true, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithSendMiddleware(func(next handler.Send) handler.Send { m.do(); return next })}
		}},
		"WithMessageID": {opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithMessageID(func(v string) string { m.do(); return v })}
		}},
		"WithKey": {opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithKey(func(v string) string { m.do(); return v })}
		}},
		"SendMiddleware before": {opts: sends(true)},
		"SendMiddleware after":  {opts: sends(false)},
		"WithDiscoverer": {instead: []string{"WithNSQD"}, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithDiscoverer(nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) { m.do(); return []string{addr}, nil }))}
		}},
		"WithAddressRewrite": {instead: []string{"WithNSQD"}, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithAddressRewrite(func(addr string) string { m.do(); return addr }), named}
		}},
		"WithNSQDFilter": {instead: []string{"WithNSQD"}, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithNSQDFilter(func(string) bool { m.do(); return true }), named}
		}},
	}
	for _, hook := range []string{"OnConnect", "OnDisconnect", "OnDialError", "OnLookup"} {
		field, _ := reflect.TypeFor[observe.Hooks]().FieldByName(hook)
		all["Hooks."+hook] = publisherCallback{harmless: true, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithHooks(hooksOf(field.Index[0], m)), named}
		}}
	}
	for _, method := range []string{"Enabled", "Handle"} {
		all["slog.Handler."+method] = publisherCallback{harmless: true, silent: true, instead: []string{"WithLogger"}, opts: func(d *day, m *misbehaviour) options {
			return options{nsqx.WithLogger(slog.New(hostileLog{&d.log, method, m}))}
		}}
	}
	for _, method := range []string{"Producer", "Producer's middleware", "Producer's middleware before", "Producer's middleware after", "Hooks", "ObservePublisher", "stop"} {
		made := !strings.Contains(method, " ") && !strings.Contains(method, "Observe") && method != "stop" || method == "Producer's middleware"
		all["Telemetry."+method] = publisherCallback{made: made, opts: func(_ *day, m *misbehaviour) options {
			return options{nsqx.WithTelemetry(hostileTelemetry{method: method, m: m})}
		}}
	}
	// A connection whose Close panics has ended all the same, once everything was confirmed.
	for _, method := range []string{"DialContext", "AuthSecret", "Read", "Write", "Close", "CloseWrite", "SetReadDeadline", "SetWriteDeadline"} {
		all["conn.Config."+method] = publisherCallback{silent: method == "Close", instead: []string{"WithConn"}, opts: func(d *day, m *misbehaviour) options {
			return options{nsqx.WithConn(hostileConfig(d.config(), method, m))}
		}}
	}
	return all
}
