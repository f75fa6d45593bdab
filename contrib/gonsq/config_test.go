package gonsq

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"github.com/nsqx/nsqx/handler"
)

// extremes are values of each option, with the option that the error names; "" if it is accepted.
var extremes = []struct {
	option string
	value  any
	fault  string // of a consumer
	both   bool   // of a producer, too
}{
	{"dial_timeout", time.Duration(0), "", false},
	{"dial_timeout", time.Nanosecond, "", false},
	{"dial_timeout", time.Duration(math.MaxInt64), "", false},
	{"dial_timeout", -time.Second, "dial_timeout", true},
	{"read_timeout", 5 * time.Minute, "", false},
	{"read_timeout", 30 * time.Second, "", false},
	{"write_timeout", 100 * time.Millisecond, "", false},
	{"write_timeout", 5 * time.Minute, "", false},
	{"local_addr", "127.0.0.1:0", "", false},
	{"lookupd_poll_interval", 10 * time.Millisecond, "", false},
	{"lookupd_poll_interval", 5 * time.Minute, "", false},
	{"lookupd_poll_jitter", 0.0, "lookupd_poll_jitter", false},
	{"lookupd_poll_jitter", 1.0, "lookupd_poll_jitter", false},
	{"lookupd_poll_timeout", time.Duration(0), "", false},
	{"lookupd_poll_timeout", time.Duration(math.MaxInt64), "", false},
	{"lookupd_poll_timeout", -time.Second, "", false},
	{"max_requeue_delay", time.Duration(0), "", false},
	{"max_requeue_delay", time.Hour, "", false},
	{"default_requeue_delay", time.Duration(0), "", false},
	{"default_requeue_delay", time.Hour, "", false},
	{"backoff_strategy", "exponential", "", false},
	{"backoff_strategy", "full_jitter", "backoff_strategy", false},
	{"max_backoff_duration", time.Duration(0), "", false},
	{"max_backoff_duration", time.Nanosecond, "", false},
	{"max_backoff_duration", time.Hour, "", false},
	{"backoff_multiplier", time.Duration(0), "", false},
	{"backoff_multiplier", time.Hour, "", false},
	{"max_attempts", 0, "", false},
	{"max_attempts", 1, "", false},
	{"max_attempts", 65535, "", false},
	{"low_rdy_idle_timeout", time.Second, "low_rdy_idle_timeout", false},
	{"low_rdy_timeout", 5 * time.Minute, "low_rdy_timeout", false},
	{"rdy_redistribute_interval", time.Millisecond, "rdy_redistribute_interval", false},
	{"client_id", "", "", false},
	{"client_id", strings.Repeat("x", 256), "ClientID", true},
	{"hostname", "a\nb", "Hostname", true},
	{"user_agent", "me/1", "", false},
	{"heartbeat_interval", time.Second, "", false},
	{"heartbeat_interval", time.Duration(0), "", false},
	{"heartbeat_interval", 500 * time.Millisecond, "heartbeat_interval", true},
	{"heartbeat_interval", time.Duration(-1), "heartbeat_interval", true},
	{"sample_rate", 0, "", false},
	{"sample_rate", 99, "", false},
	{"tls_v1", true, "", false},
	{"tls_min_version", "tls1.0", "", false},
	{"deflate", true, "", false},
	{"deflate_level", 1, "", false},
	{"deflate_level", 9, "", false},
	{"snappy", true, "", false},
	{"output_buffer_size", -1, "", false},
	{"output_buffer_size", 0, "", false},
	{"output_buffer_size", 65536, "", false},
	{"output_buffer_size", 65537, "output_buffer_size", true},
	{"output_buffer_size", math.MaxInt64, "output_buffer_size", true},
	{"output_buffer_timeout", time.Duration(0), "", false},
	{"output_buffer_timeout", 25 * time.Millisecond, "", false},
	{"output_buffer_timeout", time.Millisecond, "output_buffer_timeout", true},
	{"output_buffer_timeout", time.Duration(-1), "output_buffer_timeout", true},
	{"max_in_flight", 0, "", false},
	{"max_in_flight", 1 << 20, "", false},
	{"max_in_flight", math.MaxInt, "max_in_flight", false},
	{"msg_timeout", time.Duration(0), "", false},
	{"msg_timeout", time.Second, "", false},
	{"msg_timeout", 24 * time.Hour, "", false},
	{"msg_timeout", time.Millisecond, "msg_timeout", false},
	{"msg_timeout", 25 * time.Hour, "msg_timeout", false},
	{"auth_secret", "s", "", false},
	{"skip_lookupd_authorization", false, "", false},
}

// TestExtremes: each option at its extremes is accepted, or refused by name.
func TestExtremes(t *testing.T) {
	for _, tt := range extremes {
		cfg := NewConfig()
		if err := cfg.Set(tt.option, tt.value); err != nil {
			t.Errorf("%s: %v", tt.option, err)
			continue
		}
		if tt.option == "dial_timeout" || tt.option == "lookupd_poll_timeout" {
			cfg.LookupdPollInterval = time.Minute
		}
		name := fmt.Sprintf("%s %v", tt.option, tt.value)
		c, err := NewConsumer("orders", "billing", cfg)
		if err == nil {
			c.Stop()
		} else if c != nil {
			t.Errorf("%s: a consumer beside an error", name)
		}
		wantFault(t, name+" of a consumer", err, tt.fault)
		p, err := NewProducer("127.0.0.1:4150", cfg)
		if err == nil {
			p.Stop()
		}
		fault := tt.fault
		if !tt.both {
			fault = ""
		}
		wantFault(t, name+" of a producer", err, fault)
	}
}

func wantFault(t *testing.T, what string, err error, option string) {
	t.Helper()
	switch {
	case option == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case option != "" && (err == nil || !strings.Contains(err.Error(), option)):
		t.Errorf("%s: got %v, want an error that names %s", what, err, option)
	}
}

// TestEveryOption: no option of go-nsq is forgotten here.
func TestEveryOption(t *testing.T) {
	tested := make(map[string]bool)
	for _, tt := range extremes {
		tested[tt.option] = true
	}
	for _, option := range options() {
		if !tested[option] && option != "tls_config" {
			t.Errorf("%s is not tested", option)
		}
	}
}

func TestFaultsAreJoined(t *testing.T) {
	cfg := NewConfig()
	cfg.LowRdyTimeout, cfg.MsgTimeout, cfg.Deflate, cfg.Snappy = time.Second, 25*time.Hour, true, true
	_, err := NewConsumer("orders", "billing", cfg)
	for _, option := range []string{"low_rdy_timeout", "msg_timeout", "deflate"} {
		isErr(t, "joined", err, option)
	}
	if e, ok := errors.AsType[*OptionError](err); !ok || e.Option == "" {
		t.Errorf("%v is no OptionError", err)
	}
}

func TestTLSConfig(t *testing.T) {
	cfg := NewConfig()
	cfg.TlsConfig = &tls.Config{ServerName: "nsqd"}
	var f faults
	if tlsConfig(cfg, &f) != nil {
		t.Error("TLS without tls_v1")
	}
	cfg.TlsV1 = true
	got := tlsConfig(cfg, &f)
	want(t, "MinVersion", got.MinVersion, uint16(tls.VersionTLS12))
	want(t, "ServerName", got.ServerName, "nsqd")
	cfg.TlsConfig.MaxVersion = tls.VersionTLS11
	tlsConfig(cfg, &f)
	want(t, "faults", len(f), 1)
}

// TestConfigIsCopied: a Config that is changed after NewConsumer changes nothing.
func TestConfigIsCopied(t *testing.T) {
	cfg := NewConfig()
	c, err := NewConsumer("orders", "billing", cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultRequeueDelay = time.Second
	want(t, "delay", requeueDelay(&c.cfg, &nsq.Message{Attempts: 2}), 3*time.Minute)
	want(t, "bounded", requeueDelay(&c.cfg, &nsq.Message{Attempts: 65535}), 15*time.Minute)
	c.Stop()
	<-c.StopChan
}

// TestTimeouts: ReadTimeout and WriteTimeout hold on a connection, and deadlines of its owner too.
func TestTimeouts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := NewConfig()
	cfg.HeartbeatInterval, cfg.ReadTimeout, cfg.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
	c, err := limitConn(cfg, nil)(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		began := time.Now()
		_, err = c.Read(make([]byte, 1))
		if e, ok := err.(net.Error); !ok || !e.Timeout() || time.Since(began) < 90*time.Millisecond {
			t.Errorf("Read: %v after %v", err, time.Since(began))
		}
	}
	for block := make([]byte, 1<<20); ; { // until the buffers are full
		if _, err = c.Write(block); err != nil {
			break
		}
	}
	if e, ok := err.(net.Error); !ok || !e.Timeout() {
		t.Errorf("Write: %v", err)
	}
	if err := c.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err = c.Read(make([]byte, 1)); err == nil || time.Since(began) > 90*time.Millisecond {
		t.Errorf("Read beyond the owner's deadline: %v after %v", err, time.Since(began))
	}
	if _, ok := c.(interface{ CloseWrite() error }); !ok {
		t.Error("the connection cannot be half-closed")
	}
}

var _ handler.Func[[]byte] = Func(nil)
