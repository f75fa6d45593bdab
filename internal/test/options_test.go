package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

func TestOptionFaults(t *testing.T) {
	ok := nsqx.WithNSQD(nsqd1)
	fn := func(context.Context, *handler.Message, error) error { return nil }
	tests := map[string]struct {
		opts []nsqx.ConsumerOption
		want []string // of each fault: the option, a space, a part of its text
	}{
		"none":       {[]nsqx.ConsumerOption{ok}, nil},
		"no lookupd": {[]nsqx.ConsumerOption{ok, nsqx.WithLookupd()}, nil},

		"no address":            {nil, []string{"WithNSQD or WithLookupd or WithDiscoverer is needed"}},
		"no address in option":  {[]nsqx.ConsumerOption{nsqx.WithNSQD()}, []string{"WithNSQD or WithLookupd or WithDiscoverer is needed"}},
		"faulty addresses":      {[]nsqx.ConsumerOption{nsqx.WithNSQD("nsqd", ":4150", "nsqd:0", "nsqd:65536", "unix://x", "nsqd:4150")}, []string{"WithNSQD want host:port or unix:///path", "WithNSQD want host:port", "WithNSQD port of 1 to 65535", "WithNSQD port of 1 to 65535", "WithNSQD want unix:///path"}},
		"empty address":         {[]nsqx.ConsumerOption{nsqx.WithNSQD("")}, []string{"WithNSQD want host:port"}},
		"concurrency 0":         {[]nsqx.ConsumerOption{ok, nsqx.WithConcurrency(0)}, []string{"WithConcurrency is 0, want 1 to 65536"}},
		"concurrency -1":        {[]nsqx.ConsumerOption{ok, nsqx.WithConcurrency(-1)}, []string{"WithConcurrency is -1, want 1 to 65536"}},
		"concurrency high":      {[]nsqx.ConsumerOption{ok, nsqx.WithConcurrency(65537)}, []string{"WithConcurrency is 65537, want 1 to 65536"}},
		"in flight 0":           {[]nsqx.ConsumerOption{ok, nsqx.WithMaxInFlight(0)}, nil},
		"bytes in flight":       {[]nsqx.ConsumerOption{ok, nsqx.WithMaxInFlightBytes(1<<20 - 1)}, []string{"WithMaxInFlightBytes is 1048575, want 1048576 or more"}},
		"no address of lookupd": {[]nsqx.ConsumerOption{nsqx.WithLookupd(), nsqx.WithNSQD()}, []string{"WithNSQD or WithLookupd or WithDiscoverer is needed"}},
		"faulty lookupd":        {[]nsqx.ConsumerOption{nsqx.WithLookupd("ftp://a:4161", "b:4161")}, []string{"WithLookupd has a faulty address"}},
		"nil discoverer":        {[]nsqx.ConsumerOption{nsqx.WithDiscoverer(nil), ok}, []string{"WithDiscoverer got nil"}},
		"lookup interval":       {[]nsqx.ConsumerOption{nsqx.WithLookupd("b:4161"), nsqx.WithLookupInterval(time.Millisecond)}, []string{"WithLookupInterval is 1ms, want 100ms to 1h0m0s"}},
		"client of no lookupd":  {[]nsqx.ConsumerOption{ok, nsqx.WithLookupdClient(nsqx.LookupdClient{})}, []string{"WithLookupdClient needs WithLookupd"}},
		"filter of nothing":     {[]nsqx.ConsumerOption{ok, nsqx.WithNSQDFilter(func(string) bool { return true })}, []string{"WithNSQDFilter needs WithLookupd or WithDiscoverer"}},
		"nil filter":            {[]nsqx.ConsumerOption{nsqx.WithLookupd("b:4161"), nsqx.WithNSQDFilter(nil)}, []string{"WithNSQDFilter got nil"}},
		"too many nsqds":        {[]nsqx.ConsumerOption{nsqx.WithLookupd("b:4161"), nsqx.WithMaxNSQDs(4097)}, []string{"WithMaxNSQDs is 4097, want 1 to 4096"}},
		"backoff":               {[]nsqx.ConsumerOption{ok, nsqx.WithBackoff(nsqx.Backoff{MinResults: -1})}, []string{"WithBackoff has MinResults -1"}},
		"backoff rate":          {[]nsqx.ConsumerOption{ok, nsqx.WithBackoff(nsqx.Backoff{Failures: 1.1})}, []string{"WithBackoff has Failures 1.1"}},
		"backoff period":        {[]nsqx.ConsumerOption{ok, nsqx.WithBackoff(nsqx.Backoff{Period: 1})}, []string{"WithBackoff has Period 1ns"}},
		"backoff open":          {[]nsqx.ConsumerOption{ok, nsqx.WithBackoff(nsqx.Backoff{First: time.Second, Max: time.Millisecond})}, []string{"WithBackoff has First 1s and Max 1ms"}},
		"delivery unknown":      {[]nsqx.ConsumerOption{ok, nsqx.WithDelivery(2)}, []string{"WithDelivery is 2, want Immediate or Batched"}},
		"delivery and fixed":    {[]nsqx.ConsumerOption{ok, nsqx.WithDelivery(nsqx.Batched), nsqx.WithFixedRDY()}, []string{"WithFixedRDY contradicts WithDelivery"}},
		"fixed and delivery":    {[]nsqx.ConsumerOption{ok, nsqx.WithFixedRDY(), nsqx.WithDelivery(nsqx.Batched)}, []string{"WithDelivery contradicts WithFixedRDY"}},
		"backoff and none":      {[]nsqx.ConsumerOption{ok, nsqx.WithBackoff(nsqx.Backoff{}), nsqx.WithoutBackoff()}, []string{"WithoutBackoff contradicts WithBackoff"}},
		"no backoff and one":    {[]nsqx.ConsumerOption{ok, nsqx.WithoutBackoff(), nsqx.WithBackoff(nsqx.Backoff{})}, []string{"WithBackoff contradicts WithoutBackoff"}},
		"in flight -1":          {[]nsqx.ConsumerOption{ok, nsqx.WithMaxInFlight(-1)}, []string{"WithMaxInFlight is -1, want 0 to 1048576"}},
		"in flight high":        {[]nsqx.ConsumerOption{ok, nsqx.WithMaxInFlight(1<<20 + 1)}, []string{"WithMaxInFlight is 1048577, want 0 to 1048576"}},
		"message timeout 0":     {[]nsqx.ConsumerOption{ok, nsqx.WithMessageTimeout(0)}, []string{"WithMessageTimeout is 0s, want 1s to 24h0m0s"}},
		"message timeout -1":    {[]nsqx.ConsumerOption{ok, nsqx.WithMessageTimeout(-time.Second)}, []string{"WithMessageTimeout is -1s, want 1s to 24h0m0s"}},
		"message timeout short": {[]nsqx.ConsumerOption{ok, nsqx.WithMessageTimeout(time.Second - 1)}, []string{"WithMessageTimeout is 999.999999ms, want 1s to 24h0m0s"}},
		"message timeout long":  {[]nsqx.ConsumerOption{ok, nsqx.WithMessageTimeout(25 * time.Hour)}, []string{"WithMessageTimeout is 25h0m0s, want 1s to 24h0m0s"}},
		"message timeout odd":   {[]nsqx.ConsumerOption{ok, nsqx.WithMessageTimeout(time.Second + 1)}, []string{"WithMessageTimeout in whole milliseconds"}},
		"sample rate 0":         {[]nsqx.ConsumerOption{ok, nsqx.WithSampleRate(0)}, []string{"WithSampleRate is 0, want 1 to 99"}},
		"sample rate 100":       {[]nsqx.ConsumerOption{ok, nsqx.WithSampleRate(100)}, []string{"WithSampleRate is 100, want 1 to 99"}},
		"sample rate -1":        {[]nsqx.ConsumerOption{ok, nsqx.WithSampleRate(-1)}, []string{"WithSampleRate is -1, want 1 to 99"}},
		"max attempts 0":        {[]nsqx.ConsumerOption{ok, nsqx.WithMaxAttempts(0), nsqx.WithDiscard()}, []string{"WithMaxAttempts is 0, want 1 to 65535"}},
		"max attempts high":     {[]nsqx.ConsumerOption{ok, nsqx.WithMaxAttempts(65536), nsqx.WithDiscard()}, []string{"WithMaxAttempts is 65536, want 1 to 65535"}},
		"max age 0":             {[]nsqx.ConsumerOption{ok, nsqx.WithMaxAge(0), nsqx.WithDiscard()}, []string{"WithMaxAge is 0s, want more than 0"}},
		"max requeue delay":     {[]nsqx.ConsumerOption{ok, nsqx.WithMaxRequeueDelay(time.Microsecond)}, []string{"WithMaxRequeueDelay is 1µs, want 1ms or more"}},
		"shutdown timeout":      {[]nsqx.ConsumerOption{ok, nsqx.WithShutdownTimeout(-1)}, []string{"WithShutdownTimeout is -1ns, want 0 or more"}},

		"nil logger":           {[]nsqx.ConsumerOption{ok, nsqx.WithLogger(nil)}, []string{"WithLogger nil"}},
		"nil telemetry":        {[]nsqx.ConsumerOption{ok, nsqx.WithTelemetry(nil)}, []string{"WithTelemetry nil"}},
		"no hook":              {[]nsqx.ConsumerOption{ok, nsqx.WithHooks(observe.Hooks{})}, []string{"WithHooks got Hooks in which no function is set"}},
		"nil policy":           {[]nsqx.ConsumerOption{ok, nsqx.WithRetry(nil)}, []string{"WithRetry nil"}},
		"faulty policy":        {[]nsqx.ConsumerOption{ok, nsqx.WithRetry(retry.Linear(-1, 0))}, []string{"WithRetry retry.Linear: step is -1ns, must be at least 0"}},
		"faulty backoff":       {[]nsqx.ConsumerOption{ok, nsqx.WithRetry(retry.FromBackOff(func() backoff.BackOff { return nil }))}, []string{"WithRetry returns nil"}},
		"nil errors":           {[]nsqx.ConsumerOption{ok, nsqx.WithErrors(nil)}, []string{"WithErrors nil"}},
		"nil dead letter func": {[]nsqx.ConsumerOption{ok, nsqx.WithDeadLetterFunc(nil)}, []string{"WithDeadLetterFunc nil"}},

		"bound without end":        {[]nsqx.ConsumerOption{ok, nsqx.WithMaxAttempts(3)}, []string{"WithMaxAttempts needs WithDeadLetter, WithDeadLetterFunc or WithDiscard"}},
		"guard without end":        {[]nsqx.ConsumerOption{ok, nsqx.WithCrashGuard(30)}, []string{"WithCrashGuard needs WithDeadLetter"}},
		"guard and no dead letter": {[]nsqx.ConsumerOption{ok, nsqx.WithCrashGuard(30), nsqx.WithDiscard()}, []string{"WithCrashGuard contradicts WithDiscard"}},
		"guard below attempts":     {[]nsqx.ConsumerOption{ok, nsqx.WithCrashGuard(8), nsqx.WithMaxAttempts(8), nsqx.WithDeadLetter("dead")}, []string{"WithCrashGuard is 8, want more than the 8"}},
		"guard 1":                  {[]nsqx.ConsumerOption{ok, nsqx.WithCrashGuard(1), nsqx.WithDeadLetter("dead")}, []string{"WithCrashGuard is 1, want 2 to 65535"}},
		"bounds without end":       {[]nsqx.ConsumerOption{ok, nsqx.WithMaxAge(time.Hour), nsqx.WithMaxAttempts(3)}, []string{"WithMaxAttempts needs", "WithMaxAge needs"}},
		"bound with a topic":       {[]nsqx.ConsumerOption{ok, nsqx.WithMaxAttempts(3), nsqx.WithDeadLetter("dead")}, nil},
		"bound with a func":        {[]nsqx.ConsumerOption{ok, nsqx.WithMaxAge(3), nsqx.WithDeadLetterFunc(fn)}, nil},
		"own topic":                {[]nsqx.ConsumerOption{ok, nsqx.WithDeadLetter("orders")}, []string{"WithDeadLetter is the consumer's own topic"}},
		"faulty dead letter":       {[]nsqx.ConsumerOption{ok, nsqx.WithDeadLetter("or ders")}, []string{"WithDeadLetter faulty topic"}},
		"plain dead letter":        {[]nsqx.ConsumerOption{ok, nsqx.WithPlainDeadLetter(), nsqx.WithDiscard()}, []string{"WithPlainDeadLetter needs WithDeadLetter"}},
		"empty dead letter":        {[]nsqx.ConsumerOption{ok, nsqx.WithDeadLetter("")}, []string{"WithDeadLetter is empty"}},
		"dead letter and discard":  {[]nsqx.ConsumerOption{ok, nsqx.WithDeadLetter("dead"), nsqx.WithDiscard()}, []string{"WithDiscard contradicts WithDeadLetter"}},
		"func and dead letter":     {[]nsqx.ConsumerOption{ok, nsqx.WithDeadLetterFunc(fn), nsqx.WithDeadLetter("dead")}, []string{"WithDeadLetter contradicts WithDeadLetterFunc"}},
		"nothing twice, but these": {[]nsqx.ConsumerOption{ok, nsqx.WithMiddleware(nil), nsqx.WithMiddleware(), nsqx.WithHooks(observe.Hooks{OnConnect: func(observe.ConnEvent) {}}), nsqx.WithHooks(observe.Hooks{OnConnect: func(observe.ConnEvent) {}})}, nil},
		"nil options":              {[]nsqx.ConsumerOption{nil, ok, nil, nsqx.WithOptions(nil), nsqx.WithConsumerOptions(nil, nil)}, nil},
		"in a bundle and outside": {[]nsqx.ConsumerOption{
			nsqx.WithConsumerOptions(nsqx.WithOptions(ok), nsqx.WithConcurrency(3)), nsqx.WithConcurrency(4), ok,
		}, []string{"WithConcurrency is given twice", "WithNSQD is given twice"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := nsqx.NewConsumer("orders", "billing", codec.String(), done, tt.opts...)
			got := faults(err)
			if len(got) != len(tt.want) {
				t.Fatalf("%d faults, want %d:\n%v", len(got), len(tt.want), err)
			}
			for i, err := range got {
				fault, ok := err.(*nsqx.OptionError)
				option, text, _ := strings.Cut(tt.want[i], " ")
				if !ok || fault.Option != option || !strings.Contains(fault.Error(), text) || !strings.HasPrefix(fault.Error(), "nsqx: "+option+" ") {
					t.Errorf("fault %d is %T %v, want one of %s with %q", i, err, err, option, text)
				}
			}
		})
	}
}

func TestGivenTwice(t *testing.T) {
	twice := map[string]nsqx.ConsumerOption{
		"WithNSQD":            nsqx.WithNSQD(nsqd1),
		"WithConn":            nsqx.WithConn(conn.Config{}),
		"WithLogger":          nsqx.WithLogger(slog.Default()),
		"WithTelemetry":       nsqx.WithTelemetry(&telemetry{}),
		"WithConcurrency":     nsqx.WithConcurrency(1),
		"WithMaxInFlight":     nsqx.WithMaxInFlight(9),
		"WithMessageTimeout":  nsqx.WithMessageTimeout(time.Second),
		"WithSampleRate":      nsqx.WithSampleRate(1),
		"WithRetry":           nsqx.WithRetry(retry.Linear(0, 0)),
		"WithErrors":          nsqx.WithErrors(func(error) error { return nil }),
		"WithMaxAttempts":     nsqx.WithMaxAttempts(1),
		"WithCrashGuard":      nsqx.WithCrashGuard(2),
		"WithMaxAge":          nsqx.WithMaxAge(1),
		"WithDeadLetter":      nsqx.WithDeadLetter("dead"),
		"WithDiscard":         nsqx.WithDiscard(),
		"WithMaxRequeueDelay": nsqx.WithMaxRequeueDelay(time.Second),
		"WithShutdownTimeout": nsqx.WithShutdownTimeout(0),
		"WithDeadLetterFunc":  nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil }),
	}
	for name, opt := range twice {
		t.Run(name, func(t *testing.T) {
			opts := []nsqx.ConsumerOption{opt, opt}
			if name != "WithNSQD" {
				opts = append(opts, nsqx.WithNSQD(nsqd1))
			}
			if strings.HasPrefix(name, "WithMaxA") {
				opts = append(opts, nsqx.WithDiscard())
			}
			if name == "WithCrashGuard" {
				opts = append(opts, nsqx.WithDeadLetter("dead"))
			}
			_, err := nsqx.NewConsumer("orders", "billing", codec.String(), done, opts...)
			fault, ok := errors.AsType[*nsqx.OptionError](err)
			if !ok || len(faults(err)) != 1 || *fault != (nsqx.OptionError{Option: name, Reason: "is given twice"}) {
				t.Errorf("error is %v, want that %s is given twice", err, name)
			}
		})
	}
}

// TestAllFaultsAtOnce: one error has the faults of arguments, of options and of values that check
// themselves.
func TestAllFaultsAtOnce(t *testing.T) {
	_, err := nsqx.NewConsumer[string]("or/ders", strings.Repeat("c", 65), nil, nil,
		nsqx.WithConcurrency(0), nsqx.WithConn(conn.Config{DialTimeout: -1, HeartbeatInterval: 1}))
	var got []string
	for _, err := range faults(err) {
		got = append(got, err.Error())
		if !strings.HasPrefix(err.Error(), "nsqx: ") {
			t.Errorf("%q has no prefix", err)
		}
	}
	for _, want := range []string{
		"WithConcurrency is 0, want 1 to 65536", "codec is nil", "handler is nil", `topic "or/ders" has "/" at byte 2`, "is 65 bytes long",
		"conn.Config.DialTimeout is -1ns", "conn.Config.HeartbeatInterval is 1ns", "WithNSQD or WithLookupd or WithDiscoverer is needed",
	} {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !strings.Contains(s, want) })); n != 1 {
			t.Errorf("%d faults with %q, want one", n, want)
		}
	}
	want(t, "faults", len(got), 8)
	if fault, ok := errors.AsType[*conn.ConfigError](err); !ok || fault.Field != "conn.Config.DialTimeout" {
		t.Errorf("the fault of conn.Config is %v", fault)
	}
}

func TestFaultyCodec(t *testing.T) {
	faulty := codec.Func[string](nil, func([]byte) (string, error) { return "", nil })
	_, err := nsqx.NewConsumer("orders", "billing", faulty, done, nsqx.WithNSQD(nsqd1))
	if fault, ok := errors.AsType[*codec.Error](err); !ok || len(faults(err)) != 1 {
		t.Errorf("error is %v (%v), want one *codec.Error", err, fault)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "a.b_c-D9": true, "a#ephemeral": true, strings.Repeat("x", 64): true, strings.Repeat("x", 54) + "#ephemeral": true,
		"": false, "a b": false, "a\n": false, "ü": false, "#ephemeral": false, "a#": false, strings.Repeat("x", 65): false, strings.Repeat("x", 55) + "#ephemeral": false,
	} {
		_, topic := nsqx.NewConsumer(name, "billing", codec.String(), done, nsqx.WithNSQD(nsqd1))
		_, channel := nsqx.NewConsumer("orders", name, codec.String(), done, nsqx.WithNSQD(nsqd1))
		if (topic == nil) != ok || (channel == nil) != ok {
			t.Errorf("%q as a topic: %v, as a channel: %v", name, topic, channel)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), done, nsqx.WithNSQD(nsqd1, nsqd2, nsqd1))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Stats()
	want(t, "topic", s.Topic, "orders")
	want(t, "channel", s.Channel, "billing")
	want(t, "concurrency", s.Concurrency, 16)
	want(t, "max in flight", s.MaxInFlight, 16)
	want(t, "connections", len(s.Connections), 2)
	want(t, "first address", s.Connections[0].Addr, nsqd1)
	want(t, "second address", s.Connections[1].Addr, nsqd2)
}

// TestSubscription: nsqd gets the settings of the subscription.
func TestSubscription(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.identify = map[string]any{"msg_timeout": 90_000, "sample_rate": 7}
		s := d.run(done, nsqx.WithMessageTimeout(90*time.Second), nsqx.WithSampleRate(7), nsqx.WithConcurrency(3))
		l := d.line(nsqd1)
		l.wantCommands("", "SUB orders billing, RDY 1")
		s.wantStop(closeTime)
	})
}

func TestProducerOptionFaults(t *testing.T) {
	ok := nsqx.WithNSQD(nsqd1)
	nowhere := conn.Config{DialContext: refusedDial}
	shared, err := nsqx.NewPublisher(ok, nsqx.WithConn(nowhere), nsqx.WithLogger(discard))
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Shutdown(t.Context())
	pub := nsqx.WithPublisher(shared)
	for name, tt := range map[string]struct {
		opts []nsqx.ProducerOption
		want []string // of each fault: the option, a space, a part of its text
	}{
		"none":               {[]nsqx.ProducerOption{ok, nil, nsqx.WithConn(nowhere)}, nil},
		"no address":         {nil, []string{"WithNSQD or WithLookupd or WithDiscoverer is needed"}},
		"faulty address":     {[]nsqx.ProducerOption{nsqx.WithNSQD("nsqd")}, []string{"WithNSQD want host:port"}},
		"faulty lookupd":     {[]nsqx.ProducerOption{nsqx.WithLookupd("ftp://a")}, []string{"WithLookupd has a faulty address"}},
		"timeout":            {[]nsqx.ProducerOption{ok, nsqx.WithPublishTimeout(-1)}, []string{"WithPublishTimeout is -1ns, want 0s to 1h0m0s"}},
		"timeout high":       {[]nsqx.ProducerOption{ok, nsqx.WithPublishTimeout(time.Hour + 1)}, []string{"WithPublishTimeout is 1h0m0.000000001s, want"}},
		"timeout twice":      {[]nsqx.ProducerOption{ok, nsqx.WithPublishTimeout(0), nsqx.WithPublishTimeout(0)}, []string{"WithPublishTimeout is given twice"}},
		"at least twice":     {[]nsqx.ProducerOption{ok, nsqx.WithAtLeastOnce(), nsqx.WithAtLeastOnce()}, []string{"WithAtLeastOnce is given twice"}},
		"envelope twice":     {[]nsqx.ProducerOption{ok, nsqx.WithEnvelope(), nsqx.WithEnvelope()}, []string{"WithEnvelope is given twice"}},
		"address twice":      {[]nsqx.ProducerOption{ok, ok}, []string{"WithNSQD is given twice"}},
		"nil publisher":      {[]nsqx.ProducerOption{ok, nsqx.WithPublisher(nil)}, []string{"WithPublisher got nil"}},
		"publisher twice":    {[]nsqx.ProducerOption{pub, pub}, []string{"WithPublisher is given twice"}},
		"publisher and more": {[]nsqx.ProducerOption{pub, nsqx.WithPublishTimeout(0), ok}, []string{"WithNSQD goes with NewPublisher", "WithPublishTimeout goes with NewPublisher"}},
		"publisher's own":    {[]nsqx.ProducerOption{pub, nsqx.WithSendMiddleware(), nsqx.WithEnvelope()}, nil},
		"bundle":             {[]nsqx.ProducerOption{nsqx.WithProducerOptions(ok, nil, nsqx.WithPublishTimeout(-1)), nsqx.WithOptions()}, []string{"WithPublishTimeout is -1ns"}},
		"all of them":        {[]nsqx.ProducerOption{nsqx.WithPublishTimeout(-1), nsqx.WithConn(conn.Config{MaxBodySize: -1})}, []string{"WithPublishTimeout is -1ns", "conn.Config.MaxBodySize is -1", "WithNSQD or"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := nsqx.NewProducer("orders", codec.String(), append(tt.opts, nil)...)
			if err == nil {
				defer p.Shutdown(t.Context())
			}
			got := faults(err)
			if len(got) != len(tt.want) {
				t.Fatalf("faults are %v, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				option, text, _ := strings.Cut(want, " ")
				if s := got[i].Error(); !strings.HasPrefix(s, "nsqx: "+option+" ") || !strings.Contains(s, text) {
					t.Errorf("fault is %q, want %q", s, want)
				}
			}
			if slices.Contains([]string{"publisher and more", "publisher's own", "publisher twice"}, name) {
				_, err := nsqx.NewPublisher(tt.opts...)
				if !strings.Contains(fmt.Sprint(err), "WithPublisher is for NewProducer") {
					t.Errorf("NewPublisher returned %v", err)
				}
			}
		})
	}
	_, err = nsqx.NewProducer[string]("or/ders", nil, ok)
	want(t, "faults of the arguments", len(faults(err)), 2)
	faulty := codec.Func[string](nil, func([]byte) (string, error) { return "", nil })
	_, err = nsqx.NewProducer("orders", faulty, ok)
	if _, ok := errors.AsType[*codec.Error](err); !ok {
		t.Errorf("error is %v, want a *codec.Error", err)
	}
}

// TestOptionBundle: options that several consumers share are given as one.
func TestOptionBundle(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var order []string
		named := func(name string) handler.Middleware {
			return func(next handler.Raw) handler.Raw {
				return func(ctx context.Context, m *handler.Message) error {
					order = append(order, name)
					return next(ctx, m)
				}
			}
		}
		ev := &events{}
		handle := func(context.Context, string) error { order = append(order, "handler"); return errBill }
		_, stop := consume(t, []*nsqxtest.Server{s}, handle,
			nsqx.WithMiddleware(named("a"), nil, named("b")),
			nsqx.WithOptions(nsqx.WithHooks(ev.hooks())),
			nsqx.WithConsumerOptions(nsqx.WithRetry(seconds), nsqx.WithMiddleware(named("c"))))
		publish(s, 1)
		want(t, "requeued", billing(s).Requeued, 1)
		want(t, "delay", s.Requeues("orders", "billing")[0].Delay, time.Second)
		want(t, "order", strings.Join(order, " "), "a b c handler")
		wantStop(t, stop, closeTime)
		want(t, "events", ev.names(), "connect, disconnect")
	})
}

// TestCheckNames: names are checked as constructors check them.
func TestCheckNames(t *testing.T) {
	for name, ok := range map[string]bool{"orders": true, "orders.v2#ephemeral": true, "": false, "or ders": false, "#ephemeral": false, strings.Repeat("x", 65): false} {
		for _, check := range []func(string) error{nsqx.CheckTopic, nsqx.CheckChannel} {
			if err := check(name); (err == nil) != ok {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}
