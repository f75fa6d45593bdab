package test

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// addr is the address of the server of a walk.
const addr = "nsqd-1.test:4150"

// sharedExtremes are the options of consumers and publishers.
func sharedExtremes() map[string]extremes[nsqx.Option] {
	named := nsqx.WithDiscoverer(nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) { return []string{addr}, nil }))
	names := []nsqx.Option{named}
	hooks := observe.Hooks{OnConnect: func(observe.ConnEvent) {}, OnSettle: func(*handler.Message) {}}
	return map[string]extremes[nsqx.Option]{
		"WithNSQD": {network: true, of: values(variadic(nsqx.WithNSQD), nil, []string{}, []string{""}, []string{addr}, []string{addr, addr},
			[]string{addr, ":0"}, []string{"a:-1"}, []string{"a:65536"}, []string{"unix://"}, []string{addr, "\x00:1"}, []string{addr, "[::1]:1"})},
		"WithLookupd": {of: values(variadic(nsqx.WithLookupd), nil, []string{""}, []string{"a:4161"}, []string{"a:4161", "a:4161"},
			[]string{"a:0"}, []string{"ftp://a"}, []string{"http://"}, []string{"a:4161", "\x00:1"}, []string{"https://a:4161/%zz"})},
		"WithDiscoverer": {network: true, of: values(variadic(nsqx.WithDiscoverer), nil, []nsqx.Discoverer{nil}, []nsqx.Discoverer{nsqx.DiscovererFunc(nil)},
			[]nsqx.Discoverer{nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) {
				return []string{addr, addr, "", "\x00", "a:65536"}, errBill
			})})},
		"WithLookupInterval": {network: true, needs: names, of: values(nsqx.WithLookupInterval, append(someDurations, 100*time.Millisecond)...)},
		"WithMaxNSQDs":       {network: true, needs: names, of: values(nsqx.WithMaxNSQDs, append(someInts, 4096, 4097)...)},
		"WithAddressRewrite": {network: true, needs: names, of: values(nsqx.WithAddressRewrite, nil, func(addr string) string { return addr })},
		"WithNSQDFilter":     {network: true, needs: names, of: values(nsqx.WithNSQDFilter, nil, func(string) bool { return true })},
		"WithLookupdClient": {needs: []nsqx.Option{nsqx.WithLookupd("a:4161")}, of: values(nsqx.WithLookupdClient, nsqx.LookupdClient{},
			nsqx.LookupdClient{HTTPClient: new(http.Client)}, nsqx.LookupdClient{HTTPClient: &http.Client{Timeout: math.MinInt64}},
			nsqx.LookupdClient{HTTPClient: &http.Client{Timeout: math.MaxInt64}})},
		"WithConn":      {of: values(nsqx.WithConn, conn.Config{})}, // its fields: TestConnExtremes
		"WithLogger":    {of: values(nsqx.WithLogger, nil, discard, new(slog.Logger))},
		"WithTelemetry": {of: values(nsqx.WithTelemetry, nil, nsqx.Telemetry(observe.NoTelemetry{}), nsqx.Telemetry((*telemetry)(nil)))},
		"WithHooks":     {adds: true, of: values(variadic(nsqx.WithHooks), nil, []observe.Hooks{{}}, []observe.Hooks{hooks}, []observe.Hooks{hooks, hooks})},
		"WithOptions":   {adds: true, of: values(variadic(nsqx.WithOptions), nil, []nsqx.Option{nil}, []nsqx.Option{nil, nsqx.WithOptions()})},
	}
}

// consumerExtremes are the options of consumers.
func consumerExtremes() map[string]extremes[nsqx.ConsumerOption] {
	discards, dead := opts(nsqx.WithDiscard()), opts(nsqx.WithDeadLetter("dead"))
	all := map[string]extremes[nsqx.ConsumerOption]{
		"WithConcurrency":      {of: values(nsqx.WithConcurrency, append(someInts, 1<<12, 1<<16+1)...)},
		"WithMaxInFlight":      {of: values(nsqx.WithMaxInFlight, append(someInts, 1<<20, 1<<20+1)...)},
		"WithMaxInFlightBytes": {needs: opts(nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(3)), of: values(nsqx.WithMaxInFlightBytes, append(someInts, 1<<20, math.MaxInt/2+1)...)},
		"WithDelivery":         {of: values(nsqx.WithDelivery, -1, nsqx.Immediate, nsqx.Batched, 2)},
		"WithFixedRDY":         {of: alone(nsqx.WithFixedRDY())},
		"WithoutFailureLog":    {of: alone(nsqx.WithoutFailureLog())},
		"WithoutEnvelopes":     {of: alone(nsqx.WithoutEnvelopes())},
		"WithBackoff":          {needs: opts(nsqx.WithConcurrency(1)), of: values(nsqx.WithBackoff, backoffs()...)},
		"WithoutBackoff":       {of: alone(nsqx.WithoutBackoff())},
		"WithoutRegistration":  {of: alone(nsqx.WithoutRegistration())},
		"WithMessageTimeout":   {of: values(nsqx.WithMessageTimeout, append(slices.DeleteFunc(slices.Clone(someDurations), func(d time.Duration) bool { return d == time.Hour }), 15*time.Minute, 25*time.Hour)...)},
		"WithSampleRate":       {lossy: true, of: values(nsqx.WithSampleRate, append(someInts, 99, 100)...)},
		"WithMiddleware": {adds: true, of: values(variadic(nsqx.WithMiddleware), nil, []handler.Middleware{nil}, []handler.Middleware{nil, middleware.Recover()},
			[]handler.Middleware{func(handler.Raw) handler.Raw { return nil }})},
		"WithBatchMiddleware": {batch: true, adds: true, of: values(variadic(nsqx.WithBatchMiddleware), nil, []handler.BatchMiddleware{nil},
			[]handler.BatchMiddleware{nil, middleware.RecoverBatch()}, []handler.BatchMiddleware{func(handler.RawBatch) handler.RawBatch { return nil }})},
		"WithBatch":           {batch: true, of: batchSettings()},
		"WithoutBatchTouch":   {batch: true, of: alone(nsqx.WithoutBatchTouch())},
		"WithRetry":           {of: values(nsqx.WithRetry, policies()...)},
		"WithErrors":          {of: values(nsqx.WithErrors, nil, retry.Match(), retry.Match(nil, nil), retry.Is(nil, nil), func(error) error { return nil })},
		"WithMaxAttempts":     {needs: discards, of: values(nsqx.WithMaxAttempts, append(someInts, 1<<16-1, 1<<16)...)},
		"WithCrashGuard":      {needs: dead, of: values(nsqx.WithCrashGuard, append(someInts, 1<<16-1, 1<<16)...)},
		"WithMaxAge":          {needs: discards, of: values(nsqx.WithMaxAge, someDurations...)},
		"WithSkipOlder":       {lossy: true, of: values(nsqx.WithSkipOlder, someDurations...)},
		"WithMaxRequeueDelay": {of: values(nsqx.WithMaxRequeueDelay, someDurations...)},
		"WithShutdownTimeout": {of: values(nsqx.WithShutdownTimeout, someDurations...)},
		"WithStartTimeout":    {of: values(nsqx.WithStartTimeout, someDurations...)},
		"WithPprofLabels":     {of: alone(nsqx.WithPprofLabels())},
		"WithDeadLetter":      {of: values(nsqx.WithDeadLetter, someTexts...)},
		"WithPlainDeadLetter": {needs: dead, of: alone(nsqx.WithPlainDeadLetter())},
		"WithDeadLetterFunc":  {of: values(nsqx.WithDeadLetterFunc, nil, confirmDeadLetter)},
		"WithDiscard":         {of: alone(nsqx.WithDiscard())},
		"WithDefaults":        {adds: true, of: values(variadic(nsqx.WithDefaults), nil, opts(nil), opts(nil, nsqx.WithDefaults()), opts(nsqx.WithConsumerOptions(nsqx.WithOptions(nil))))},
		"WithConsumerOptions": {adds: true, of: values(variadic(nsqx.WithConsumerOptions), nil, opts(nil), opts(nil, nsqx.WithConsumerOptions()))},
	}
	for name, e := range sharedExtremes() {
		all[name] = extremesAs[nsqx.ConsumerOption](e)
	}
	return all
}

// producerExtremes are the options of publishers and producers.
func producerExtremes() map[string]extremes[nsqx.ProducerOption] {
	all := map[string]extremes[nsqx.ProducerOption]{
		"WithProducerDefaults": {adds: true, of: values(variadic(nsqx.WithProducerDefaults), nil, []nsqx.ProducerOption{nil})},
		"WithProducerOptions":  {adds: true, of: values(variadic(nsqx.WithProducerOptions), nil, []nsqx.ProducerOption{nil})},
		"WithPublisher":        {of: values(nsqx.WithPublisher, nil)},
		"WithSendMiddleware": {adds: true, of: values(variadic(nsqx.WithSendMiddleware), nil, []handler.SendMiddleware{nil}, []handler.SendMiddleware{handler.Forward()},
			[]handler.SendMiddleware{func(handler.Send) handler.Send { return nil }})},
		"WithEnvelope":       {of: alone(nsqx.WithEnvelope())},
		"WithMessageID":      {of: values(nsqx.WithMessageID[string], nil, first(0), first(1))},
		"WithKey":            {of: values(nsqx.WithKey[string], nil, first(0), first(1))},
		"WithTTL":            {of: values(nsqx.WithTTL, someDurations...)},
		"WithPublishTimeout": {of: values(nsqx.WithPublishTimeout, someDurations...)},
		"WithAtLeastOnce":    {of: alone(nsqx.WithAtLeastOnce())},
		"WithCloseTimeout":   {of: values(nsqx.WithCloseTimeout, someDurations...)},
	}
	for name, e := range sharedExtremes() {
		all[name] = extremesAs[nsqx.ProducerOption](e)
	}
	return all
}

// redriveExtremes are the options of Redrive alone.
func redriveExtremes() map[string]extremes[nsqx.RedriveOption] {
	return map[string]extremes[nsqx.RedriveOption]{
		"WithRedriveChannel":     {of: values(nsqx.WithRedriveChannel, someTexts...)},
		"WithRedriveRate":        {of: values(nsqx.WithRedriveRate, append(someFloats, 0.01, 1e6)...)},
		"WithRedriveLimit":       {lossy: true, of: values(nsqx.WithRedriveLimit, someInts...)},
		"WithRedriveIdle":        {of: values(nsqx.WithRedriveIdle, someDurations...)},
		"WithRedriveAllChannels": {of: alone(nsqx.WithRedriveAllChannels())},
		"WithRedriveFilter": {lossy: true, of: values(nsqx.WithRedriveFilter, nil,
			func(*handler.Message) bool { return true }, func(*handler.Message) bool { return false })},
		"WithRedriveHTTP": {of: values(func(http string) nsqx.RedriveOption { return nsqx.WithRedriveHTTP(nsqd1, http) }, append(someTexts, "a:1")...)},
	}
}

// backoffs are Backoffs of which one field is extreme. The breaker opens at the failure.
func backoffs() (all []nsqx.Backoff) {
	eager := nsqx.Backoff{MinResults: 1, Failures: 0.1}
	for i := range reflect.TypeFor[nsqx.Backoff]().NumField() {
		for _, v := range extremesOf(reflect.TypeFor[nsqx.Backoff]().Field(i).Type) {
			b := eager
			reflect.ValueOf(&b).Elem().Field(i).Set(reflect.ValueOf(v))
			all = append(all, b)
		}
	}
	return append(all, nsqx.Backoff{}, eager, nsqx.Backoff{MinResults: 1, Failures: 0.1, Max: 24 * time.Hour}, nsqx.Backoff{MinResults: 1, Failures: 0.1, Max: time.Millisecond})
}

// policies are retry policies of which one argument is extreme.
func policies() (all []retry.Policy) {
	for _, d := range someDurations {
		all = append(all, retry.Linear(d, time.Hour), retry.Linear(d, math.MaxInt64), retry.Linear(0, d), retry.Schedule(d), retry.Schedule(d, retry.Stop), retry.Schedule(0, d),
			retry.Exponential(d, time.Hour), retry.Exponential(d, math.MaxInt64), retry.Exponential(1, d),
			retry.PolicyFunc(func(int, error) time.Duration { return max(d, 0) }),
			retry.FromBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(d) }))
	}
	for _, f := range someFloats {
		all = append(all, retry.Exponential(1, math.MaxInt64, retry.WithMultiplier(f)), retry.Exponential(1, time.Hour, nil, retry.WithRandomizationFactor(f)))
	}
	return append(all, nil, retry.Schedule(), retry.PolicyFunc(nil), retry.FromBackOff(nil), retry.FromBackOff(func() backoff.BackOff { return nil }))
}

// middlewareExtremes are the functions of package middleware with extreme arguments.
func middlewareExtremes() map[string]map[string]handler.Middleware {
	all := func(*handler.Message) bool { return true }
	log := func(opt middleware.LogOption) handler.Middleware { return middleware.Log(discard, opt, nil) }
	levels := []slog.Leveler{nil, slog.Level(math.MinInt), slog.Level(math.MaxInt)}
	return map[string]map[string]handler.Middleware{
		"AutoTouch":    alone(middleware.AutoTouch()),
		"Recover":      alone(middleware.Recover()),
		"Timeout":      values(middleware.Timeout, slices.DeleteFunc(slices.Clone(someDurations), func(d time.Duration) bool { return d == 1 })...),
		"Only":         {"nothing": middleware.Only(nil, nil), "all": middleware.Only(nil, middleware.Recover()), "no middleware": middleware.Only(all, nil)},
		"Log":          {"default": middleware.Log(nil, middleware.SuccessLevel(slog.LevelDebug-1), middleware.FailureLevel(slog.LevelDebug-1)), "silent": middleware.Log(discard)},
		"SuccessLevel": values(func(l slog.Leveler) handler.Middleware { return log(middleware.SuccessLevel(l)) }, levels...),
		"FailureLevel": values(func(l slog.Leveler) handler.Middleware { return log(middleware.FailureLevel(l)) }, levels...),
		"PanicLevel":   values(func(l slog.Leveler) handler.Middleware { return log(middleware.PanicLevel(l)) }, levels...),
	}
}

// batchSettings are the options of sizes and waits.
func batchSettings() map[string]nsqx.ConsumerOption {
	all := values(func(n int) nsqx.ConsumerOption { return nsqx.WithBatch(n, time.Second) }, append(someInts, 1<<20)...)
	maps.Copy(all, values(func(d time.Duration) nsqx.ConsumerOption { return nsqx.WithBatch(3, d) }, someDurations...))
	return all
}
