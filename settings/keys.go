package settings

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
)

// key is a setting.
type key struct {
	name   string
	option string // that it sets: a function of nsqx, or a field such as "conn.Config.DialTimeout"
	set    func(b *builder, k *key, value string) error
	beside []nsqx.ConsumerOption // without which the option is a fault
}

// find returns the key of a name; nil if there is none.
func find(name string) *key {
	i := slices.IndexFunc(table, func(k key) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &table[i]
}

var (
	discards = []nsqx.ConsumerOption{nsqx.WithDiscard()}
	dead     = []nsqx.ConsumerOption{nsqx.WithDeadLetter("dead")}
	lookups  = []nsqx.ConsumerOption{nsqx.WithLookupd("127.0.0.1:4161")}
)

// table has all keys. A test compares it with the options of nsqx and the fields of conn.Config.
var table = []key{
	{"nsqd", "WithNSQD", shared(list, variadic(nsqx.WithNSQD)), nil},
	{"lookupd", "WithLookupd", shared(list, variadic(nsqx.WithLookupd)), nil},
	{"lookupd_poll_interval", "WithLookupInterval", shared(duration, nsqx.WithLookupInterval), lookups},
	{"max_nsqds", "WithMaxNSQDs", shared(integer, nsqx.WithMaxNSQDs), lookups},

	{"concurrency", "WithConcurrency", consumer(integer, nsqx.WithConcurrency), nil},
	{"max_in_flight", "WithMaxInFlight", consumer(integer, nsqx.WithMaxInFlight), nil},
	{"max_in_flight_bytes", "WithMaxInFlightBytes", consumer(integer, nsqx.WithMaxInFlightBytes), nil},
	{"delivery", "WithDelivery", consumer(delivery, nsqx.WithDelivery), nil},
	{"fixed_rdy", "WithFixedRDY", consumerSwitch(nsqx.WithFixedRDY()), nil},
	{"batch", "WithBatch", setBatch, nil},
	{"without_batch_touch", "WithoutBatchTouch", consumerSwitch(nsqx.WithoutBatchTouch()), nil},
	{"msg_timeout", "WithMessageTimeout", consumer(duration, nsqx.WithMessageTimeout), nil},
	{"sample_rate", "WithSampleRate", consumer(integer, nsqx.WithSampleRate), nil},
	{"max_attempts", "WithMaxAttempts", consumer(integer, nsqx.WithMaxAttempts), discards},
	{"max_age", "WithMaxAge", consumer(duration, nsqx.WithMaxAge), discards},
	{"crash_guard", "WithCrashGuard", consumer(integer, nsqx.WithCrashGuard), dead},
	{"dead_letter", "WithDeadLetter", consumer(text, nsqx.WithDeadLetter), nil},
	{"plain_dead_letter", "WithPlainDeadLetter", consumerSwitch(nsqx.WithPlainDeadLetter()), dead},
	{"discard", "WithDiscard", consumerSwitch(nsqx.WithDiscard()), nil},
	{"skip_older", "WithSkipOlder", consumer(duration, nsqx.WithSkipOlder), nil},
	{"max_requeue_delay", "WithMaxRequeueDelay", consumer(duration, nsqx.WithMaxRequeueDelay), nil},
	{"start_timeout", "WithStartTimeout", consumer(duration, nsqx.WithStartTimeout), nil},
	{"shutdown_timeout", "WithShutdownTimeout", consumer(duration, nsqx.WithShutdownTimeout), nil},
	{"without_registration", "WithoutRegistration", consumerSwitch(nsqx.WithoutRegistration()), lookups},
	{"without_envelopes", "WithoutEnvelopes", consumerSwitch(nsqx.WithoutEnvelopes()), nil},
	{"without_failure_log", "WithoutFailureLog", consumerSwitch(nsqx.WithoutFailureLog()), nil},
	{"pprof_labels", "WithPprofLabels", consumerSwitch(nsqx.WithPprofLabels()), nil},
	{"without_backoff", "WithoutBackoff", consumerSwitch(nsqx.WithoutBackoff()), nil},
	{"backoff_min_results", "WithBackoff.MinResults", setBackoff, nil},
	{"backoff_failures", "WithBackoff.Failures", setBackoff, nil},
	{"backoff_period", "WithBackoff.Period", setBackoff, nil},
	{"backoff_first", "WithBackoff.First", setBackoff, nil},
	{"max_backoff_duration", "WithBackoff.Max", setBackoff, nil},

	{"envelope", "WithEnvelope", producerSwitch(nsqx.WithEnvelope()), nil},
	{"publish_timeout", "WithPublishTimeout", producer(duration, nsqx.WithPublishTimeout), nil},
	{"at_least_once", "WithAtLeastOnce", producerSwitch(nsqx.WithAtLeastOnce()), nil},
	{"ttl", "WithTTL", producer(duration, nsqx.WithTTL), nil},
	{"close_timeout", "WithCloseTimeout", producer(duration, nsqx.WithCloseTimeout), nil},

	{"tls", "conn.Config.TLS", setTLS, nil},
	{"tls_root_ca_file", "conn.Config.TLS", setTLS, nil},
	{"tls_cert", "conn.Config.TLS", setTLS, nil},
	{"tls_key", "conn.Config.TLS", setTLS, nil},
	{"tls_min_version", "conn.Config.TLS", setTLS, nil},
	{"tls_server_name", "conn.Config.TLS", setTLS, nil},
	{"tls_insecure_skip_verify", "conn.Config.TLS", setTLS, nil},
	{"auth_secret_file", "conn.Config.AuthSecret", setSecret, nil},
	{"allow_plaintext_auth", "conn.Config.AllowPlaintextAuth", setConn, nil},
	{"require_auth", "conn.Config.RequireAuth", setConn, nil},
	{"compression", "conn.Config.Compression", setCompression, nil},
	{"deflate_level", "conn.Config.DeflateLevel", setConn, nil},
	{"compression_optional", "conn.Config.CompressionOptional", setConn, nil},
	{"dial_timeout", "conn.Config.DialTimeout", setConn, nil},
	{"handshake_timeout", "conn.Config.HandshakeTimeout", setConn, nil},
	{"heartbeat_interval", "conn.Config.HeartbeatInterval", setConn, nil},
	{"output_buffer_size", "conn.Config.OutputBufferSize", setConn, nil},
	{"output_buffer_timeout", "conn.Config.OutputBufferTimeout", setConn, nil},
	{"max_message_size", "conn.Config.MaxMessageSize", setConn, nil},
	{"max_body_size", "conn.Config.MaxBodySize", setConn, nil},
	{"max_delay", "conn.Config.MaxDelay", setConn, nil},
	{"answer_timeout", "conn.Config.PublishTimeout", setConn, nil}, // publish_timeout is the option's
	{"client_id", "conn.Config.ClientID", setConn, nil},
	{"hostname", "conn.Config.Hostname", setConn, nil},
	{"user_agent", "conn.Config.UserAgent", setConn, nil},
	{"topology_region", "conn.Config.TopologyRegion", setConn, nil},
	{"topology_zone", "conn.Config.TopologyZone", setConn, nil},
}

// setter makes a key's function of what parses a value and what takes it.
type setter = func(b *builder, k *key, value string) error

func shared[V any](parse func(string) (V, error), with func(V) nsqx.Option) setter {
	return func(b *builder, k *key, value string) error {
		v, err := parse(value)
		if err != nil {
			return err
		}
		o := with(v)
		b.consumer, b.producer = append(b.consumer, o), append(b.producer, o)
		return refused(k, o, nil)
	}
}

func consumer[V any](parse func(string) (V, error), with func(V) nsqx.ConsumerOption) setter {
	return func(b *builder, k *key, value string) error {
		v, err := parse(value)
		if err != nil {
			return err
		}
		o := with(v)
		b.consumer = append(b.consumer, o)
		return refused(k, o, nil)
	}
}

func producer[V any](parse func(string) (V, error), with func(V) nsqx.ProducerOption) setter {
	return func(b *builder, k *key, value string) error {
		v, err := parse(value)
		if err != nil {
			return err
		}
		o := with(v)
		b.producer = append(b.producer, o)
		return refused(k, nil, o)
	}
}

func consumerSwitch(o nsqx.ConsumerOption) setter {
	return func(b *builder, k *key, value string) error {
		on, err := boolean(value)
		if on {
			b.consumer = append(b.consumer, o)
		} else if err == nil {
			b.off = append(b.off, k.option)
		}
		return err
	}
}

func producerSwitch(o nsqx.ProducerOption) setter {
	return func(b *builder, k *key, value string) error {
		on, err := boolean(value)
		if on {
			b.producer = append(b.producer, o)
		} else if err == nil {
			b.off = append(b.off, k.option)
		}
		return err
	}
}

// refused returns why a constructor would refuse an option, without making anything: there is no
// codec.
func refused(k *key, c nsqx.ConsumerOption, p nsqx.ProducerOption) error {
	var err error
	if c != nil {
		_, err = nsqx.NewConsumer[string]("", "", nil, nil, append(slices.Clone(k.beside), c)...)
		if k.name == "batch" {
			_, err = nsqx.NewBatchConsumer[string]("", "", nil, nil, c)
		}
	} else {
		_, err = nsqx.NewProducer[string]("", nil, p)
	}
	var reasons []error
	walk(err, func(e *nsqx.OptionError) {
		if e.Option == k.option || strings.HasPrefix(k.option, e.Option+".") {
			reasons = append(reasons, errors.New(e.Reason))
		}
	})
	return errors.Join(reasons...)
}

// walk calls f for each fault of a joined error.
func walk[E error](err error, f func(E)) {
	if e, ok := err.(E); ok {
		f(e)
	} else if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			walk(err, f)
		}
	}
}

// setBatch sets size and wait.
func setBatch(b *builder, k *key, value string) error {
	size, wait, ok := strings.Cut(value, ",")
	n, err1 := integer(size)
	d, err2 := duration(wait)
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("is %.64q, want a size and a time, such as 100,100ms", value)
	}
	o := nsqx.WithBatch(n, d)
	b.consumer = append(b.consumer, o)
	return refused(k, o, nil)
}

// setBackoff sets a field of nsqx.Backoff.
func setBackoff(b *builder, k *key, value string) error {
	one := nsqx.Backoff{}
	if b.backoff == nil {
		b.backoff = &nsqx.Backoff{}
	}
	name := strings.TrimPrefix(k.option, "WithBackoff.")
	if err := setField(reflect.ValueOf(&one).Elem().FieldByName(name), value); err != nil {
		return err
	}
	field := reflect.ValueOf(one).FieldByName(name)
	reflect.ValueOf(b.backoff).Elem().FieldByName(name).Set(field)
	return refused(k, nsqx.WithBackoff(*b.backoff), nil)
}

// setConn sets a field of conn.Config.
func setConn(b *builder, k *key, value string) error {
	field := reflect.ValueOf(&b.cfg).Elem().FieldByName(strings.TrimPrefix(k.option, "conn.Config."))
	if field.Kind() == reflect.Bool {
		on, err := boolean(value)
		if field.SetBool(on); !on && err == nil {
			b.off = append(b.off, k.option)
		}
		b.connGiven = b.connGiven || on
		return err
	}
	b.connGiven = true
	return setField(field, value)
}

// setField parses a value for a field, for which zero means the default.
func setField(field reflect.Value, value string) error {
	var v any
	var err error
	switch field.Interface().(type) {
	case int:
		v, err = integer(value)
	case time.Duration:
		if v, err = duration(value); value == "-1" { // turns off what it is for
			v, err = time.Duration(-1), nil
		}
	case float64:
		v, err = number(value)
	case string:
		v, err = text(value)
	}
	if err != nil {
		return err
	}
	if field.Set(reflect.ValueOf(v)); field.IsZero() {
		return fmt.Errorf("is %s; leave it out for the default", value)
	}
	return nil
}

func integer(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("is %.64q, want an integer, such as 16", value)
	}
	return n, nil
}

func number(value string) (float64, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || n != n {
		return 0, fmt.Errorf("is %.64q, want a number, such as 0.9", value)
	}
	return n, nil
}

func duration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, fmt.Errorf("is %.64q, want a duration, such as 1m30s or 500ms", value)
	}
	return d, nil
}

func boolean(value string) (bool, error) {
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("is %.64q, want true or false", value)
	}
	return on, nil
}

func text(value string) (string, error) { return value, nil }

func delivery(value string) (nsqx.Delivery, error) {
	for _, d := range []nsqx.Delivery{nsqx.Immediate, nsqx.Batched} {
		if d.String() == value {
			return d, nil
		}
	}
	return 0, fmt.Errorf("is %.64q, want immediate or batched", value)
}

// list parses a list of addresses.
func list(value string) ([]string, error) { return strings.Split(value, ","), nil }

// variadic makes a function of a list of one of several.
func variadic(with func(...string) nsqx.Option) func([]string) nsqx.Option {
	return func(addrs []string) nsqx.Option { return with(addrs...) }
}

// setCompression sets the algorithm.
func setCompression(b *builder, k *key, value string) error {
	all := []conn.Compression{conn.NoCompression, conn.Snappy, conn.Deflate}
	i := slices.IndexFunc(all, func(c conn.Compression) bool { return c.String() == value })
	if i < 0 {
		return fmt.Errorf("is %.64q, want none, snappy or deflate", value)
	}
	if b.cfg.Compression = all[i]; i == 0 {
		b.off = append(b.off, k.option)
	} else {
		b.connGiven = true
	}
	return nil
}
