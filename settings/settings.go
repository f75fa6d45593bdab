// Package settings makes options of strings: URLs, environment variables and flags.
//
// # When to use what
//
//   - [FromEnv] reads all settings of a service from the environment, as containers have them.
//   - [Consumer] and [Producer] parse one URL, such as a line of a configuration file.
//   - [Flag] is a URL as a flag of a command line.
//
// # Five things to know
//
//  1. A URL names nsqds (nsq://a:4150,b:4150), nsqlookupds (nsq+lookupd://a:4161) or a socket
//     (nsq+unix:///run/nsqd.sock), and has settings in its query. The variable of a setting has the
//     prefix and the key in upper case: NSQX_MAX_IN_FLIGHT=200.
//  2. Keys are the names of options in snake case, and go-nsq's where they mean the same: [Keys]
//     lists them. Each option of plain values has one. Durations are Go's (1m30s), sizes are bytes,
//     lists are separated by commas.
//  3. All faults are reported together, each as an [*Error] that names the key and what is allowed. In
//     a URL an unknown key is a fault. In the environment it is logged, since Kubernetes sets
//     variables of its own, and an empty variable counts as not set. Keys for the other side, such as
//     envelope for a consumer, are ignored.
//  4. A setting is an option like any other: given in the code as well, it is a fault of the
//     constructor. Put what the code has into [nsqx.WithDefaults], which yields to settings; false
//     turns off what a default turns on.
//  5. A secret is never part of a URL or a variable, only of a file (auth_secret_file), which is read
//     for each connection, so it may be replaced while the service runs.
//
// # A service
//
//	env, err := settings.FromEnv("NSQX_")
//	if err != nil {
//		return err
//	}
//	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), bill, env.Consumer(),
//		nsqx.WithDefaults(nsqx.WithNSQD("127.0.0.1:4150"), nsqx.WithConcurrency(8)))
//	…
//	p, err := nsqx.NewProducer("invoices", codec.JSON[Invoice](), env.Producer(),
//		nsqx.WithProducerDefaults(nsqx.WithNSQD("127.0.0.1:4150")))
package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/nsqx/nsqx"
)

// Error is a setting that cannot be used.
type Error struct {
	Key    string // of a URL, or the name of a variable; "" for the URL itself
	Reason string // what is wrong, and what is allowed
}

// Error names the key and what is allowed.
func (e *Error) Error() string {
	if e.Key == "" {
		return "nsqx: settings: the URL " + e.Reason
	}
	return "nsqx: settings: " + e.Key + " " + e.Reason
}

// Settings are what a URL or the environment says. The zero value says nothing.
type Settings struct {
	consumer []nsqx.ConsumerOption
	producer []nsqx.ProducerOption
}

// Consumer returns the settings as an option of consumers.
func (s Settings) Consumer() nsqx.ConsumerOption { return nsqx.WithConsumerOptions(s.consumer...) }

// Producer returns the settings as an option of producers and publishers.
func (s Settings) Producer() nsqx.ProducerOption { return nsqx.WithProducerOptions(s.producer...) }

// Consumer parses a URL, and returns an option for a consumer. Keys for producers are ignored.
func Consumer(url string) (nsqx.ConsumerOption, error) {
	s, err := Parse(url)
	if err != nil {
		return nil, err
	}
	return s.Consumer(), nil
}

// Producer is [Consumer] for producers and publishers.
func Producer(url string) (nsqx.ProducerOption, error) {
	s, err := Parse(url)
	if err != nil {
		return nil, err
	}
	return s.Producer(), nil
}

// Parse parses a URL, for services that have both sides.
func Parse(url string) (Settings, error) {
	values, err := parseURL(url)
	if err != nil {
		return Settings{}, err
	}
	var b builder
	for _, key := range values.keys() {
		b.name = key
		switch vs := values[key]; {
		case len(vs) > 1:
			b.fault(fmt.Sprintf("is given %d times, want once", len(vs)))
		case vs[0] == "":
			b.fault("is empty; leave it out for the default")
		default:
			b.set(key, vs[0])
		}
	}
	return b.settings()
}

// FromEnv reads the environment variables whose names begin with prefix, such as "NSQX_". Unknown
// ones are logged with slog.Default() and ignored, empty ones are ignored.
func FromEnv(prefix string) (Settings, error) {
	if prefix == "" || strings.ToUpper(prefix) != prefix || strings.ContainsAny(prefix, "= \x00") {
		return Settings{}, &Error{Key: "prefix", Reason: fmt.Sprintf("is %q, want upper-case letters, such as NSQX_", prefix)}
	}
	var b builder
	var unknown []string
	environ := os.Environ()
	slices.Sort(environ)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		key, ours := strings.CutPrefix(name, prefix)
		if !ours || value == "" {
			continue
		}
		if lower := strings.ToLower(key); key == strings.ToUpper(key) && find(lower) != nil {
			b.name = name
			b.set(lower, value)
		} else {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slog.Warn("nsqx: settings: unknown variables are ignored", "variables", strings.Join(unknown, ", "))
	}
	return b.settings()
}

// Flag is a [flag.Value] for a URL. The zero Flag is ready to use; while it is not set it has no
// settings.
type Flag struct {
	Settings
	text string
}

// Set parses a URL. The second time is an error.
func (f *Flag) Set(url string) error {
	if f.text != "" {
		return &Error{Reason: "is given twice"}
	}
	s, err := Parse(url)
	if err != nil {
		return err
	}
	f.Settings, f.text = s, url
	return nil
}

// String returns the URL.
func (f *Flag) String() string { return f.text }

// Keys returns all keys, sorted.
func Keys() (names []string) {
	for _, k := range table {
		names = append(names, k.name)
	}
	slices.Sort(names)
	return names
}

// builder collects settings and faults.
type builder struct {
	name   string // of the setting, as its owner knows it
	faults []error

	consumer []nsqx.ConsumerOption
	producer []nsqx.ProducerOption
	off      []string
	connection
	backoff *nsqx.Backoff
}

func (b *builder) fault(reason string) {
	b.faults = append(b.faults, &Error{Key: b.name, Reason: reason})
}

// set takes one setting.
func (b *builder) set(name, value string) {
	k := find(name)
	if k == nil {
		hint := ""
		if strings.Contains(name, "secret") || strings.Contains(name, "password") {
			hint = "; a secret is given by file, as auth_secret_file"
		}
		b.fault("is unknown" + hint + "; allowed are " + strings.Join(Keys(), ", "))
		return
	}
	if err := k.set(b, k, value); err != nil {
		b.fault(err.Error())
	}
}

// settings returns the result.
func (b *builder) settings() (Settings, error) {
	b.name = "tls"
	b.finishConn()
	if b.backoff != nil {
		b.consumer = append(b.consumer, nsqx.WithBackoff(*b.backoff))
	}
	if err := errors.Join(b.faults...); err != nil {
		return Settings{}, err
	}
	return Settings{consumer: b.consumer, producer: b.producer}, nil
}
