package conn_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// Tests of config.go, validate.go and print.go.

func TestConfigValidate(t *testing.T) {
	secret := func(context.Context) (string, error) { return "s", nil }
	duration := "allowed is 1ms to 1h0m0s, or 0 for the default"
	beat := "allowed is 1s to 1m0s in whole milliseconds, or 0 for the default"
	size := "allowed is 64 to 65536, or 0 for the default"
	hold := "allowed is 25ms to 30s in whole milliseconds, or 0 for the default"
	tests := []struct {
		field, want string // want "": valid
		cfg         conn.Config
	}{
		{"", "", conn.Config{}},
		{"DialTimeout", "", conn.Config{DialTimeout: time.Millisecond}},
		{"DialTimeout", "", conn.Config{DialTimeout: time.Hour}},
		{"DialTimeout", duration, conn.Config{DialTimeout: -1}},
		{"DialTimeout", duration, conn.Config{DialTimeout: time.Millisecond - 1}},
		{"DialTimeout", duration, conn.Config{DialTimeout: time.Hour + 1}},
		{"HandshakeTimeout", "", conn.Config{HandshakeTimeout: 1500 * time.Microsecond}},
		{"HandshakeTimeout", duration, conn.Config{HandshakeTimeout: -time.Second}},
		{"HandshakeTimeout", duration, conn.Config{HandshakeTimeout: math.MaxInt64}},
		{"HeartbeatInterval", "", conn.Config{HeartbeatInterval: time.Second}},
		{"HeartbeatInterval", "", conn.Config{HeartbeatInterval: time.Minute}},
		{"HeartbeatInterval", beat, conn.Config{HeartbeatInterval: -1}},
		{"HeartbeatInterval", beat, conn.Config{HeartbeatInterval: 999 * time.Millisecond}},
		{"HeartbeatInterval", beat, conn.Config{HeartbeatInterval: time.Minute + time.Millisecond}},
		{"HeartbeatInterval", beat, conn.Config{HeartbeatInterval: time.Second + 1}},
		{"OutputBufferSize", "", conn.Config{OutputBufferSize: -1}},
		{"OutputBufferSize", "", conn.Config{OutputBufferSize: 64}},
		{"OutputBufferSize", "", conn.Config{OutputBufferSize: 65536}},
		{"OutputBufferSize", size, conn.Config{OutputBufferSize: -2}},
		{"OutputBufferSize", size, conn.Config{OutputBufferSize: 63}},
		{"OutputBufferSize", size, conn.Config{OutputBufferSize: 65537}},
		{"OutputBufferTimeout", "", conn.Config{OutputBufferTimeout: -1}},
		{"OutputBufferTimeout", "", conn.Config{OutputBufferTimeout: 25 * time.Millisecond}},
		{"OutputBufferTimeout", "", conn.Config{OutputBufferTimeout: 30 * time.Second}},
		{"OutputBufferTimeout", hold, conn.Config{OutputBufferTimeout: -time.Millisecond}},
		{"OutputBufferTimeout", hold, conn.Config{OutputBufferTimeout: 24 * time.Millisecond}},
		{"OutputBufferTimeout", hold, conn.Config{OutputBufferTimeout: 30*time.Second + time.Millisecond}},
		{"OutputBufferTimeout", hold, conn.Config{OutputBufferTimeout: 25*time.Millisecond + 1}},
		{"MaxMessageSize", "", conn.Config{MaxMessageSize: 1}},
		{"MaxMessageSize", "", conn.Config{MaxMessageSize: 1 << 30}},
		{"MaxMessageSize", "allowed is 1 to 1073741824", conn.Config{MaxMessageSize: -1}},
		{"MaxMessageSize", "allowed is 1 to 1073741824", conn.Config{MaxMessageSize: 1<<30 + 1}},
		{"ClientID", "", conn.Config{ClientID: strings.Repeat("x", 255)}},
		{"ClientID", "allowed are at most 255", conn.Config{ClientID: strings.Repeat("x", 256)}},
		{"Hostname", "without control characters", conn.Config{Hostname: "a\nb"}},
		{"UserAgent", "allowed is UTF-8", conn.Config{UserAgent: "\xff"}},
		{"TopologyRegion", "allowed are at most 255", conn.Config{TopologyRegion: strings.Repeat("x", 256)}},
		{"TopologyZone", "without control characters", conn.Config{TopologyZone: "\x00"}},
		{"Compression", "", conn.Config{Compression: conn.Snappy, CompressionOptional: true}},
		{"Compression", "allowed are NoCompression, Snappy and Deflate", conn.Config{Compression: 3}},
		{"CompressionOptional", "it goes with Snappy or Deflate", conn.Config{CompressionOptional: true}},
		{"DeflateLevel", "", conn.Config{Compression: conn.Deflate, DeflateLevel: 1}},
		{"DeflateLevel", "", conn.Config{Compression: conn.Deflate, DeflateLevel: 9}},
		{"DeflateLevel", "allowed is 1 to 9", conn.Config{Compression: conn.Deflate, DeflateLevel: -1}},
		{"DeflateLevel", "allowed is 1 to 9", conn.Config{Compression: conn.Deflate, DeflateLevel: 10}},
		{"DeflateLevel", "it goes with Deflate", conn.Config{Compression: conn.Snappy, DeflateLevel: 1}},
		{"TLS", "", conn.Config{TLS: &tls.Config{}}},
		{"TLS", "", conn.Config{TLS: &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}}},
		{"TLS", "MinVersion TLS 1.1: allowed is at least TLS 1.2", conn.Config{TLS: &tls.Config{MinVersion: tls.VersionTLS11}}},
		{"TLS", "MaxVersion TLS 1.0: allowed is at least TLS 1.2", conn.Config{TLS: &tls.Config{MaxVersion: tls.VersionTLS10}}},
		{"RequireAuth", "", conn.Config{RequireAuth: true, AuthSecret: secret, TLS: &tls.Config{}}},
		{"RequireAuth", "", conn.Config{RequireAuth: true, AuthSecret: secret, AllowPlaintextAuth: true}},
		{"RequireAuth", "AuthSecret is not", conn.Config{RequireAuth: true}},
		{"RequireAuth", "set TLS, or AllowPlaintextAuth", conn.Config{RequireAuth: true, AuthSecret: secret}},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i, tt.field), func(t *testing.T) {
			err := tt.cfg.Validate()
			if tt.want == "" {
				if err != nil {
					t.Fatalf("unexpected %v", err)
				}
				return
			}
			fault, ok := errors.AsType[*conn.ConfigError](err)
			if !ok || fault.Field != "conn.Config."+tt.field || !strings.Contains(fault.Reason, tt.want) {
				t.Fatalf("error is %v\nwant one about %s with %q", err, tt.field, tt.want)
			}
			if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 1 {
				t.Errorf("%d faults of one: %v", n, err)
			}
			if (&conn.Error{Err: err}).Permanent() != true {
				t.Error("is not permanent")
			}
		})
	}
}

func TestConfigValidateJoinsAll(t *testing.T) {
	err := conn.Config{DialTimeout: -1, MaxMessageSize: -1, RequireAuth: true, Compression: 9, Hostname: "\n"}.Validate()
	var fields []string
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		fields = append(fields, err.(*conn.ConfigError).Field)
	}
	if got := strings.ReplaceAll(strings.Join(fields, " "), "conn.Config.", ""); got != "DialTimeout MaxMessageSize Hostname Compression RequireAuth" {
		t.Errorf("faults of %s", got)
	}
}

func TestSubscriptionValidate(t *testing.T) {
	sub := func(change func(s *conn.Subscription)) conn.Subscription {
		s := conn.Subscription{Topic: "orders", Channel: "billing#ephemeral"}
		change(&s)
		return s
	}
	tests := map[string]struct {
		sub  conn.Subscription
		want string // in the error; "": valid
	}{
		"good":             {sub(func(s *conn.Subscription) {}), ""},
		"timeout least":    {sub(func(s *conn.Subscription) { s.MessageTimeout = time.Second }), ""},
		"timeout most":     {sub(func(s *conn.Subscription) { s.MessageTimeout = 15 * time.Minute }), ""},
		"sample rate":      {sub(func(s *conn.Subscription) { s.SampleRate = 99 }), ""},
		"topic":            {sub(func(s *conn.Subscription) { s.Topic = "a b" }), `topic "a b"`},
		"channel":          {sub(func(s *conn.Subscription) { s.Channel = "" }), "channel"},
		"timeout short":    {sub(func(s *conn.Subscription) { s.MessageTimeout = 999 * time.Millisecond }), "MessageTimeout is 999ms: allowed is 1s to 24h0m0s"},
		"timeout long":     {sub(func(s *conn.Subscription) { s.MessageTimeout = 25 * time.Hour }), "MessageTimeout"},
		"timeout fraction": {sub(func(s *conn.Subscription) { s.MessageTimeout = time.Second + 1 }), "whole milliseconds"},
		"timeout negative": {sub(func(s *conn.Subscription) { s.MessageTimeout = -1 }), "MessageTimeout"},
		"sample rate 100":  {sub(func(s *conn.Subscription) { s.SampleRate = 100 }), "SampleRate is 100: allowed is 1 to 99"},
		"sample rate -1":   {sub(func(s *conn.Subscription) { s.SampleRate = -1 }), "SampleRate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.sub.Validate()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
			if err != nil && !(&conn.Error{Err: err}).Permanent() {
				t.Error("is not permanent")
			}
		})
	}
}

func TestCompressionString(t *testing.T) {
	for c, want := range map[conn.Compression]string{0: "none", 1: "snappy", 2: "deflate", 3: "Compression(3)"} {
		if c.String() != want {
			t.Errorf("%d is %q", c, c.String())
		}
	}
}

// TestConfigPrintsNoSecret searches every printed form of a Config for a canary that all secret
// fields contain.
func TestConfigPrintsNoSecret(t *testing.T) {
	const canary = "canary-5ec7e7"
	cfg := conn.Config{
		TLS: &tls.Config{
			ServerName:   canary,
			Certificates: []tls.Certificate{{Certificate: [][]byte{[]byte(canary)}, PrivateKey: []byte(canary)}},
		},
		AuthSecret:  func(context.Context) (string, error) { return canary, nil },
		Compression: conn.Snappy,
		DialTimeout: 3 * time.Second,
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "conn", cfg)
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "conn", &cfg)
	encoded, err := json.Marshal(map[string]any{"conn": &cfg})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{
		"log":  log.String(),
		"json": string(encoded),
		"%v":   fmt.Sprintf("%v %v", cfg, &cfg),
		"%+v":  fmt.Sprintf("%+v %+v", cfg, struct{ C conn.Config }{cfg}),
		"%#v":  fmt.Sprintf("%#v", cfg),
		"%s":   fmt.Sprintf("%s %q", cfg, cfg),
	}
	hexed := fmt.Sprintf("%x", canary)
	for how, s := range shown {
		if strings.Contains(s, canary) || strings.Contains(s, hexed) || strings.Contains(s, "99 97 110 97 114 121") {
			t.Errorf("%s shows the canary: %s", how, s)
		}
		if !strings.Contains(s, "snappy") {
			t.Errorf("%s does not show the settings: %s", how, s)
		}
	}
	if got, want := cfg.String(), `conn.Config{tls:"true" auth_secret:"true" compression:"snappy" dial_timeout:"3s"}`; got != want {
		t.Errorf("String is %s\nwant      %s", got, want)
	}
	if got := (conn.Config{}).String(); got != "conn.Config{}" {
		t.Errorf("zero value is %s", got)
	}
	var fields map[string]map[string]any
	if err := json.Unmarshal(encoded, &fields); err != nil || fields["conn"]["dial_timeout"] != "3s" || fields["conn"]["tls"] != true {
		t.Errorf("JSON %s, %v", encoded, err)
	}
}
