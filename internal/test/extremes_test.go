package test

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// try builds a service with options and uses it: see tryConsumer.
type try[O any] func(t *testing.T, option string, e extremes[O], opts ...O) (made bool)

// walk tries each option with each of its values, and then twice.
func walk[O any](t *testing.T, all map[string]extremes[O], try try[O]) {
	for option, e := range all {
		t.Run(option, func(t *testing.T) {
			var works []O
			for value, opt := range e.of {
				t.Run(value, func(t *testing.T) {
					if try(t, option, e, opt) {
						works = append(works, opt)
					}
				})
			}
			if len(works) == 0 {
				return
			}
			t.Run("twice", func(t *testing.T) {
				made := try(t, option, e, works[0], works[0])
				want(t, "may be given twice", made, e.adds)
			})
		})
	}
}

// TestConsumerExtremes: with any value of any option a consumer is refused, with a fault that names
// the option, or it handles its messages and shuts down in time.
func TestConsumerExtremes(t *testing.T) { walk(t, consumerExtremes(), tryConsumer) }

// TestProducerExtremes is TestConsumerExtremes for publishers.
func TestProducerExtremes(t *testing.T) { walk(t, producerExtremes(), tryPublisher) }

// TestRedriveExtremes is TestConsumerExtremes for Redrive.
func TestRedriveExtremes(t *testing.T) { walk(t, redriveExtremes(), tryRedrive) }

// TestExtremesAreComplete: the walks above miss no option, and those of retry no policy.
func TestExtremesAreComplete(t *testing.T) {
	var walked []string
	walked = slices.AppendSeq(walked, maps.Keys(consumerExtremes()))
	walked = slices.AppendSeq(walked, maps.Keys(producerExtremes()))
	walked = slices.AppendSeq(walked, maps.Keys(redriveExtremes()))
	walked = append(walked, "WithGrace", "WithRunLogger") // of Run: TestRunBadServices
	slices.Sort(walked)
	walked = slices.Compact(walked)
	want(t, "options of the front door", fmt.Sprint(exported(t, "../..")), fmt.Sprint(walked))
	want(t, "policies", fmt.Sprint(exported(t, "../../retry", "Policy")), "[Exponential FromBackOff Linear Schedule WithMultiplier WithRandomizationFactor]")
	want(t, "middleware", fmt.Sprint(exported(t, "../../middleware", "Middleware", "LogOption")), fmt.Sprint(slices.Sorted(maps.Keys(middlewareExtremes()))))
	want(t, "options of conn", fmt.Sprint(exported(t, "../../conn")), "[]")
}

// TestMiddlewareExtremes is TestConsumerExtremes for the arguments of middleware.
func TestMiddlewareExtremes(t *testing.T) {
	for name, all := range middlewareExtremes() {
		for value, mw := range all {
			t.Run(name+" "+value, func(t *testing.T) {
				want(t, "made", tryConsumer(t, name, extremes[nsqx.ConsumerOption]{}, nsqx.WithMiddleware(mw)), true)
			})
		}
	}
}

// TestDelayExtremes: a delay that a handler asks for is cut; one of a publish is rejected.
func TestDelayExtremes(t *testing.T) {
	for _, d := range someDurations {
		for name, err := range map[string]error{"deferred": nil, "failed": errBill} {
			bubble(t, fmt.Sprint(name, " ", d), func(t *testing.T) {
				s := nsqxtest.NewServer(t, nsqxtest.WithPatience(2*time.Hour))
				runs := 0
				consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
					if runs++; runs == 1 {
						return retry.After(d, err)
					}
					return nil
				}, nsqx.WithMaxRequeueDelay(math.MaxInt64))
				publish(s, 1)
				s.Await("orders", "billing", finished(1))
			})
		}
		bubble(t, fmt.Sprint("published ", d), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			p, err := nsqx.NewProducer("orders", codec.String(), s.Option(), nsqx.WithLogger(discard))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if err = p.PublishAfter(t.Context(), d, "x"); d < 0 || d > time.Hour {
				wantErr(t, "publish", err, nsqx.ErrRejected)
				return
			}
			wantErr(t, "publish", err, nil)
			want(t, "delay", s.Published("orders")[0].Delay, max(d, (d+time.Millisecond-1).Truncate(time.Millisecond)))
		})
	}
}

// TestMessageExtremes: nsqd may say anything of a message.
func TestMessageExtremes(t *testing.T) {
	limits := opts(nsqx.WithMaxAttempts(1<<16-1), nsqx.WithMaxAge(math.MaxInt64), nsqx.WithDiscard())
	for _, attempts := range []uint16{0, 1, 2, 1<<16 - 1} {
		for _, at := range []time.Time{{}, time.Unix(0, math.MinInt64), time.Unix(0, 0), time.Unix(0, -1), time.Unix(0, math.MaxInt64)} {
			bubble(t, fmt.Sprint(attempts, " ", at.UnixNano()), func(t *testing.T) {
				c := newConsumer(t, func(context.Context, string) error { return errBill }, append(limits, nsqx.WithNSQD(addr))...)
				out := nsqxtest.Deliver(t, c, []byte("x"), nsqxtest.WithAttempts(attempts), nsqxtest.WithTimestamp(at))
				if out.Disposition != handler.Requeue && out.Disposition != handler.Drop || out.Delay < 0 || out.Delay > time.Hour {
					t.Errorf("outcome is %+v", out)
				}
			})
		}
	}
}

// TestContradictions: options that exclude each other, or of which one would do nothing, are a fault
// that names both.
func TestContradictions(t *testing.T) {
	named := nsqx.WithNSQD(addr)
	for name, tt := range map[string]struct {
		opts []nsqx.ConsumerOption
		want string
	}{
		"interval":     {opts(named, nsqx.WithLookupInterval(time.Second)), "nsqx: WithLookupInterval needs WithLookupd or WithDiscoverer: it does not apply to the addresses of WithNSQD"},
		"bound":        {opts(named, nsqx.WithMaxNSQDs(9)), "nsqx: WithMaxNSQDs needs WithLookupd or WithDiscoverer: it does not apply to the addresses of WithNSQD"},
		"registration": {opts(named, nsqx.WithoutRegistration()), "nsqx: WithoutRegistration needs WithLookupd: without it nothing is registered"},
		"buffer and timeout": {opts(named, nsqx.WithMessageTimeout(4*time.Second), nsqx.WithConn(conn.Config{OutputBufferTimeout: 1001 * time.Millisecond})),
			"nsqx: WithMessageTimeout is 4s, want at least four times the OutputBufferTimeout of WithConn, which is 1.001s"},
		"buffer": {opts(named, nsqx.WithConn(conn.Config{OutputBufferSize: -1, OutputBufferTimeout: time.Second})),
			"nsqx: conn.Config.OutputBufferTimeout is 1s, but OutputBufferSize is -1, which turns both off"},
		"just so": {opts(named, nsqx.WithMessageTimeout(4*time.Second), nsqx.WithConn(conn.Config{OutputBufferTimeout: time.Second})), ""},
	} {
		_, err := nsqx.NewConsumer("orders", "billing", codec.String(), done, tt.opts...)
		if err == nil && tt.want != "" || err != nil && err.Error() != tt.want {
			t.Errorf("%s: error is %v, want %s", name, err, tt.want)
		}
	}
}

// TestConnExtremes is TestConsumerExtremes, and that of producers, for each field of conn.Config.
func TestConnExtremes(t *testing.T) {
	config := reflect.TypeFor[conn.Config]()
	for i := range config.NumField() {
		field := config.Field(i)
		vs := extremesOf(field.Type)
		switch field.Name {
		case "TLS":
			vs = []any{new(tls.Config), &tls.Config{MinVersion: 1}, &tls.Config{MaxVersion: tls.VersionTLS11}, &tls.Config{MinVersion: 1<<16 - 1}, &tls.Config{MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12}}
		case "Compression":
			vs = []any{conn.Snappy, conn.Deflate, conn.Compression(3), conn.Compression(255)}
		case "AuthSecret", "DialContext": // see TestCallbacks
			continue
		}
		if len(vs) == 0 {
			t.Errorf("no extremes for %s", field.Name)
		}
		for i, v := range vs {
			cfg := conn.Config{}
			reflect.ValueOf(&cfg).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(v))
			t.Run(fmt.Sprintf("%s %d", field.Name, i), func(t *testing.T) {
				tryConsumer(t, "conn.Config."+field.Name, extremes[nsqx.ConsumerOption]{}, nsqx.WithConn(cfg))
			})
			t.Run(fmt.Sprintf("%s %d of a publisher", field.Name, i), func(t *testing.T) {
				tryPublisher(t, "conn.Config."+field.Name, extremes[nsqx.ProducerOption]{}, nsqx.WithConn(cfg))
			})
		}
	}
}
