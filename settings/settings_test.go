package settings_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/settings"
)

func handle(context.Context, string) error { return nil }

func newConsumer(opts ...nsqx.ConsumerOption) (*nsqx.Consumer[string], error) {
	return nsqx.NewConsumer("orders", "billing", codec.String(), handle, opts...)
}

// wantFault checks an error for a key, and that it is an Error.
func wantFault(t *testing.T, err error, key string, parts ...string) {
	t.Helper()
	e, ok := errors.AsType[*settings.Error](err)
	if !ok || e.Key != key {
		t.Errorf("error is %v, want one of %q", err, key)
		return
	}
	for _, part := range parts {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("error is %v, want %q in it", err, part)
		}
	}
}

func TestURL(t *testing.T) {
	const example = "nsq+lookupd://a:4161,b:4161?concurrency=32&max_in_flight=200&tls=true"
	o, err := settings.Consumer(example)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConsumer(o)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Concurrency != 32 || len(s.Lookups) != 2 || s.Lookups[1].Name != "b:4161" {
		t.Errorf("stats are %+v", s)
	}
	for _, url := range []string{example, "nsq://a:4150", "nsq://a:4150/", "nsq://[::1]:4150,[fe80::1]:4150", "nsq+unix:///run/nsqd.sock", "nsq://?nsqd=unix:///x,a:1",
		"nsq://a:4150?lookupd=https://b:4161/x", "nsq://a:4150?user_agent=a%20b"} {
		o, err := settings.Consumer(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
		} else if _, err := newConsumer(o); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, want := range map[string][]string{
		"":                                     {"", "has no scheme", "nsq+lookupd://"},
		"a:4150":                               {"", "has no scheme"},
		"http://a:4150":                        {"", `scheme "http", want nsq, nsq+lookupd or nsq+unix`},
		"nsq://me:hush@a:4150":                 {"", "auth_secret_file"},
		"nsq://hush@a:4150":                    {"", "user name or password"},
		"nsq://a:4150?dead_letter=x y":         {"", "space"},
		"nsq://a:4150\n":                       {"", "control character"},
		"nsq://a:4150#x":                       {"", "%23"},
		"nsq://a:4150/x":                       {"", "has a path"},
		"nsq+unix://run/nsqd":                  {"", "nsq+unix:///path"},
		"nsq://a:4150?dial_timeout=%zz":        {"", "faulty query"},
		"nsq://a:4150?a;b":                     {"", "faulty query"},
		"nsq://a":                              {"nsqd", "want host:port"},
		"nsq://a:4150,":                        {"nsqd", "want host:port"},
		"nsq://:4150":                          {"nsqd", "want host:port"},
		"nsq+lookupd://ftp:x":                  {"lookupd", "faulty address"},
		"nsq://a:1?nsqd=b:1":                   {"nsqd", "is given 2 times"},
		"nsq://a:1?concurrency=1&concurrency=": {"concurrency", "is given 2 times"},
		"nsq://a:1?concurrency=":               {"concurrency", "is empty"},
		"nsq://a:1?concurrency":                {"concurrency", "is empty"},
		"nsq://a:1?concurency=1":               {"concurency", "is unknown; allowed are allow_plaintext_auth, answer_timeout, ", "concurrency"},
		"nsq://a:1?auth_secret=hush":           {"auth_secret", "auth_secret_file"},
		"nsq://a:1?concurrency=0":              {"concurrency", "is 0, want 1 to 65536"},
		"nsq://a:1?concurrency=9999999999999999999999": {"concurrency", "want an integer"},
		"nsq://a:1?concurrency=65537":                  {"concurrency", "want 1 to 65536"},
		"nsq://a:1?msg_timeout=10":                     {"msg_timeout", "want a duration, such as"},
		"nsq://a:1?msg_timeout=25h":                    {"msg_timeout", "want 1s to 24h0m0s"},
		"nsq://a:1?max_attempts=65536":                 {"max_attempts", "is 65536, want 1 to 65535"},
		"nsq://a:1?lookupd_poll_interval=1ms":          {"lookupd_poll_interval", "want 100ms to 1h0m0s"},
		"nsq://a:1?publish_timeout=-1s":                {"publish_timeout", "want 0s to 1h0m0s"},
		"nsq://a:1?delivery=fast":                      {"delivery", "want immediate or batched"},
		"nsq://a:1?batch=10":                           {"batch", "want a size and a time"},
		"nsq://a:1?batch=0,1s":                         {"batch", "is 0, want 1 to 1048576"},
		"nsq://a:1?envelope=yes":                       {"envelope", "want true or false"},
		"nsq://a:1?dial_timeout=0":                     {"dial_timeout", "leave it out for the default"},
		"nsq://a:1?dial_timeout=2h":                    {"dial_timeout", "allowed is 1ms to 1h0m0s"},
		"nsq://a:1?backoff_failures=NaN":               {"backoff_failures", "want a number"},
		"nsq://a:1?backoff_failures=2":                 {"backoff_failures", "has Failures 2"},
		"nsq://a:1?compression=gzip":                   {"compression", "want none, snappy or deflate"},
		"nsq://a:1?compression=snappy&deflate_level=3": {"deflate_level", "goes with Deflate"},
		"nsq://a:1?dead_letter=or%20ders":              {"dead_letter", "faulty topic"},
		"nsq://a:1?tls=maybe":                          {"tls", "want true or false"},
		"nsq://a:1?tls_cert=x":                         {"tls", "want tls=true"},
		"nsq://a:1?tls=false&tls_cert=x":               {"tls", "is false"},
		"nsq://a:1?tls=true&tls_cert=x":                {"tls", "want both"},
		"nsq://a:1?tls=true&tls_cert=x&tls_key=y":      {"tls", "tls_cert"},
		"nsq://a:1?tls=true&tls_root_ca_file=/none":    {"tls", "/none cannot be read"},
		"nsq://a:1?tls=true&tls_min_version=1.1":       {"tls", "want 1.2 or 1.3"},
		"nsq://a:1?auth_secret_file=/none":             {"auth_secret_file", "/none cannot be read"},
		"nsq://a:1?auth_secret_file=/":                 {"auth_secret_file", "no regular file"},
	} {
		_, err := settings.Parse(url)
		if err == nil {
			t.Errorf("%s is accepted", url)
			continue
		}
		wantFault(t, err, want[0], want[1:]...)
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	_, err = settings.Producer("nsq://a:1?concurrency=0&envelope=x&zzz=1")
	if n := strings.Count(fmt.Sprint(err), "nsqx: settings: "); n != 3 {
		t.Errorf("%d faults, want 3: %v", n, err)
	}
}

// TestOtherSide: keys for the other side are ignored.
func TestOtherSide(t *testing.T) {
	s, err := settings.Parse("nsq://a:4150?concurrency=3&envelope=true&close_timeout=3s&dial_timeout=1s&tls=false")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := newConsumer(s.Consumer()); err != nil || c.Stats().Concurrency != 3 {
		t.Errorf("consumer: %v", err)
	}
	p, err := nsqx.NewPublisher(s.Producer(), nsqx.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if _, err := newConsumer(s.Consumer(), nsqx.WithConcurrency(4)); !strings.Contains(fmt.Sprint(err), "WithConcurrency is given twice") {
		t.Errorf("a setting and an option: %v", err)
	}
}

func TestFromEnv(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	t.Setenv("APP_NSQD", "a:4150,b:4150")
	t.Setenv("APP_CONCURRENCY", "7")
	t.Setenv("APP_MAX_AGE", "") // not set
	t.Setenv("APP_PORT", "tcp://10.0.0.1:hush")
	t.Setenv("APP_concurrency", "8")
	env, err := settings.FromEnv("APP_")
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConsumer(env.Consumer(), nsqx.WithDefaults(nsqx.WithConcurrency(2), nsqx.WithLookupd("c:4161")))
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Concurrency != 7 || len(s.Lookups) != 0 {
		t.Errorf("stats are %+v", s)
	}
	if text := log.String(); !strings.Contains(text, "APP_PORT, APP_concurrency") || strings.Contains(text, "hush") {
		t.Errorf("the log is %s", text)
	}
	t.Setenv("APP_MAX_AGE", "1")
	_, err = settings.FromEnv("APP_")
	wantFault(t, err, "APP_MAX_AGE", "want a duration")
	for _, prefix := range []string{"", "nsqx_", "A=", "A B"} {
		_, err := settings.FromEnv(prefix)
		wantFault(t, err, "prefix", "NSQX_")
	}
}

// TestFalse: false turns off a default, and contradicts an option.
func TestFalse(t *testing.T) {
	s, err := settings.Parse("nsq://a:4150?discard=false&without_backoff=false&tls=false")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newConsumer(s.Consumer(), nsqx.WithMaxAttempts(3), nsqx.WithDefaults(nsqx.WithDiscard(), nsqx.WithoutBackoff())); !strings.Contains(fmt.Sprint(err), "WithMaxAttempts needs") {
		t.Errorf("error is %v", err)
	}
	if _, err := newConsumer(s.Consumer(), nsqx.WithDiscard()); !strings.Contains(fmt.Sprint(err), "WithDiscard is given, and turned off") {
		t.Errorf("error is %v", err)
	}
	// Of a default for connections the fields stay that no setting is about.
	secret := func(context.Context) (string, error) { return "x", nil }
	code := nsqx.WithDefaults(nsqx.WithConn(conn.Config{RequireAuth: true, AuthSecret: secret, AllowPlaintextAuth: true}))
	for query, works := range map[string]bool{"allow_plaintext_auth=false": false, "dial_timeout=1s": true, "allow_plaintext_auth=false&require_auth=false": true} {
		s, err := settings.Parse("nsq://a:4150?" + query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newConsumer(s.Consumer(), code); (err == nil) != works {
			t.Errorf("%s: error is %v", query, err)
		}
	}
}

func TestFlag(t *testing.T) {
	var f settings.Flag
	if _, err := newConsumer(f.Consumer(), nsqx.WithNSQD("a:4150")); err != nil {
		t.Errorf("a flag that is not set: %v", err)
	}
	set := flag.NewFlagSet("x", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Var(&f, "nsq", "URL of nsqd or nsqlookupd")
	if err := set.Parse([]string{"-nsq", "nsq://a:4150?concurrency=5"}); err != nil {
		t.Fatal(err)
	}
	if c, err := newConsumer(f.Consumer()); err != nil || c.Stats().Concurrency != 5 || f.String() != "nsq://a:4150?concurrency=5" {
		t.Errorf("consumer: %v", err)
	}
	wantFault(t, f.Set("nsq://b:4150"), "", "is given twice")
	wantFault(t, new(settings.Flag).Set("b"), "", "has no scheme")
}

// TestSecretFile: the file is read for each connection, and no secret is shown.
func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, part := range map[string]string{"": "is empty", "\n": "is empty", strings.Repeat("x", 1<<17): "longer than"} {
		write(text)
		_, err := settings.Parse("nsq://a:4150?auth_secret_file=" + path)
		wantFault(t, err, "auth_secret_file", part)
	}
	if runtime.GOOS != "windows" && os.Getuid() != 0 {
		write("x")
		os.Chmod(path, 0)
		_, err := settings.Parse("nsq://a:4150?auth_secret_file=" + path)
		wantFault(t, err, "auth_secret_file", "cannot be read")
		os.Chmod(path, 0o600)
	}
	write("first-secret\n")
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithAuth("first-secret"), nsqxtest.WithoutLog())
		o, err := settings.Consumer("nsq://a:4150?allow_plaintext_auth=true&auth_secret_file=" + path)
		if err != nil {
			t.Fatal(err)
		}
		var log syncedLog
		c, err := newConsumer(o, s.Option(), nsqx.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if err != nil {
			t.Fatal(err)
		}
		nsqxtest.Run(t, c)
		<-c.Ready()
		write("second-secret")
		s.Disconnect()
		time.Sleep(time.Second)
		if err := c.Healthy(); !errors.Is(err, nsqx.ErrNoNSQD) {
			t.Errorf("the new secret is not used: %v", err)
		}
		os.Remove(path)
		time.Sleep(20 * time.Second)
		if err := c.Healthy(); err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("without a file: %v", err)
		}
		write("first-secret")
		time.Sleep(20 * time.Second)
		if err := c.Healthy(); err != nil {
			t.Errorf("with the old secret: %v", err)
		}
		if strings.Contains(log.String(), "-secret\"") || strings.Contains(log.String(), "second-secret") {
			t.Errorf("the log shows a secret:\n%s", log.String())
		}
	})
}

// syncedLog is a buffer for the goroutine of a logger and that of the test.
type syncedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *syncedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *syncedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
