package conn_test

import (
	"errors"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/version"
)

// Tests of identify.go.

func TestIdentifyRequest(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(hostname, ".")
	defaults := map[string]any{
		"client_id": short, "hostname": hostname, "user_agent": "nsqx/" + version.Version, "feature_negotiation": true,
		"heartbeat_interval": 30000.0, "output_buffer_size": 0.0, "output_buffer_timeout": 0.0,
		"tls_v1": false, "snappy": false, "deflate": false, "sample_rate": 0.0, "msg_timeout": 0.0,
	}
	tests := map[string]struct {
		cfg    conn.Config
		sub    *conn.Subscription
		answer map[string]any
		want   map[string]any // in addition to the defaults
	}{
		"publisher": {},
		"consumer":  {sub: orders},
		"all": {
			conn.Config{ClientID: "c", Hostname: "h.x", UserAgent: "u/1", HeartbeatInterval: 1500 * time.Millisecond,
				OutputBufferSize: 64, OutputBufferTimeout: 25 * time.Millisecond, TopologyRegion: "eu", TopologyZone: "a"},
			&conn.Subscription{Topic: "t", Channel: "c", MessageTimeout: 90 * time.Second, SampleRate: 10},
			map[string]any{"sample_rate": 10, "msg_timeout": 90_000},
			map[string]any{"client_id": "c", "hostname": "h.x", "user_agent": "u/1", "heartbeat_interval": 1500.0,
				"output_buffer_size": 64.0, "output_buffer_timeout": 25.0, "topology_region": "eu", "topology_zone": "a",
				"sample_rate": 10.0, "msg_timeout": 90000.0},
		},
		"buffer off": {cfg: conn.Config{OutputBufferSize: -1, OutputBufferTimeout: -1},
			want: map[string]any{"output_buffer_size": -1.0, "output_buffer_timeout": -1.0}},
		"deflate": {cfg: conn.Config{Compression: conn.Deflate, CompressionOptional: true},
			want: map[string]any{"deflate": true, "deflate_level": 6.0}},
		"deflate 1": {cfg: conn.Config{Compression: conn.Deflate, DeflateLevel: 1, CompressionOptional: true},
			want: map[string]any{"deflate": true, "deflate_level": 1.0}},
		"snappy": {cfg: conn.Config{Compression: conn.Snappy, CompressionOptional: true},
			want: map[string]any{"snappy": true}},
	}
	for name, tt := range tests {
		bubbles(t, name, func(t *testing.T) {
			got := make(chan map[string]any, 1)
			_, err := shake(t, t.Context(), tt.cfg, tt.sub, func(p *fake.Peer) {
				got <- p.Identify(tt.answer)
				if tt.sub != nil {
					p.Expect("SUB")
					p.Response("OK")
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(defaults)
			maps.Copy(want, tt.want)
			if req := <-got; !reflect.DeepEqual(req, want) {
				t.Errorf("sent %v\nwant %v", req, want)
			}
		})
	}
}

// TestIdentifyAnswer checks a catalogue of answers to a connection that asked for nothing.
func TestIdentifyAnswer(t *testing.T) {
	standard := conn.Identity{MaxRdyCount: 2500, MsgTimeout: time.Minute, MaxMsgTimeout: 15 * time.Minute}
	with := func(change func(id *conn.Identity)) conn.Identity {
		id := standard
		change(&id)
		return id
	}
	accepted := map[string]conn.Identity{
		"OK":                                    standard,
		"{}":                                    standard,
		" \n{ }\n":                              standard,
		`{"new":[{}]}`:                          standard,
		`{"snappy":null,"max_rdy_count":null}`:  standard,
		`{"max_rdy_count":1}`:                   with(func(id *conn.Identity) { id.MaxRdyCount = 1 }),
		`{"max_rdy_count":1,"max_rdy_count":7}`: with(func(id *conn.Identity) { id.MaxRdyCount = 7 }),
		`{"max_rdy_count":2147483647}`:          with(func(id *conn.Identity) { id.MaxRdyCount = 1<<31 - 1 }),
		`{"version":"1.3.0"}`:                   with(func(id *conn.Identity) { id.Version = "1.3.0" }),
		`{"msg_timeout":1}`:                     with(func(id *conn.Identity) { id.MsgTimeout = time.Millisecond }),
		`{"msg_timeout":900001}`:                with(func(id *conn.Identity) { id.MsgTimeout = 15 * time.Minute }),
		`{"max_msg_timeout":200}`:               with(func(id *conn.Identity) { id.MsgTimeout, id.MaxMsgTimeout = 200*time.Millisecond, 200*time.Millisecond }),
		`{"output_buffer_size":1,"output_buffer_timeout":0}`:                with(func(id *conn.Identity) { id.OutputBufferSize = 1 }),
		`{"output_buffer_timeout":250,"deflate_level":6}`:                   with(func(id *conn.Identity) { id.OutputBufferTimeout = 250 * time.Millisecond }),
		`{"x":` + strings.Repeat("[", 999) + strings.Repeat("]", 999) + `}`: standard,
	}
	for answer, want := range accepted {
		bubbles(t, "accepts "+label(answer), func(t *testing.T) {
			hs, err := shake(t, t.Context(), conn.Config{}, nil, answering(answer))
			if err != nil {
				t.Fatal(err)
			}
			if hs.Resp != want {
				t.Errorf("identity is %+v\nwant        %+v", hs.Resp, want)
			}
		})
	}

	refused := map[string]struct{ field, value string }{
		"":                                      {"", ""},
		"OK ":                                   {"", "OK "},
		"ok":                                    {"", "ok"},
		"{":                                     {"", "{"},
		"null":                                  {"", "null"},
		"[]":                                    {"", "[]"},
		"[{}]":                                  {"", "[{}]"},
		"true":                                  {"", "true"},
		"{}{}":                                  {"", "{}{}"},
		"{'a':1}":                               {"", "{'a':1}"},
		"\xff\xfe":                              {"", "\xff\xfe"},
		`{"max_rdy_count":0}`:                   {"max_rdy_count", "0"},
		`{"max_rdy_count":-5}`:                  {"max_rdy_count", "-5"},
		`{"max_rdy_count":2147483648}`:          {"max_rdy_count", "2147483648"},
		`{"max_rdy_count":"2500"}`:              {"max_rdy_count", "string"},
		`{"max_rdy_count":1e99}`:                {"max_rdy_count", "number 1e99"},
		`{"max_rdy_count":2.5}`:                 {"max_rdy_count", "number 2.5"},
		`{"max_rdy_count":[]}`:                  {"max_rdy_count", "array"},
		`{"max_rdy_count":9223372036854775808}`: {"max_rdy_count", "number 9223372036854775808"},
		`{"msg_timeout":0}`:                     {"msg_timeout", "0"},
		`{"msg_timeout":-1}`:                    {"msg_timeout", "-1"},
		`{"msg_timeout":2147483648}`:            {"msg_timeout", "2147483648"},
		`{"msg_timeout":9223372036854775807}`:   {"msg_timeout", "9223372036854775807"},
		`{"msg_timeout":"1m"}`:                  {"msg_timeout", "string"},
		`{"max_msg_timeout":0}`:                 {"max_msg_timeout", "0"},
		`{"max_msg_timeout":1e10}`:              {"max_msg_timeout", "number 1e10"},
		`{"sample_rate":-1}`:                    {"sample_rate", "-1"},
		`{"sample_rate":100}`:                   {"sample_rate", "100"},
		`{"sample_rate":5}`:                     {"sample_rate", "5"}, // not asked for: messages would be lost
		`{"tls_v1":true}`:                       {"tls_v1", "true"},
		`{"tls_v1":1}`:                          {"tls_v1", "number"},
		`{"snappy":true}`:                       {"snappy", "true"},
		`{"deflate":true}`:                      {"deflate", "true"},
		`{"snappy":true,"deflate":true}`:        {"snappy", "true"},
		`{"deflate_level":99}`:                  {"deflate_level", "99"},
		`{"deflate_level":-1}`:                  {"deflate_level", "-1"},
		`{"auth_required":"yes"}`:               {"auth_required", "string"},
		`{"output_buffer_size":-2}`:             {"output_buffer_size", "-2"},
		`{"output_buffer_timeout":-2}`:          {"output_buffer_timeout", "-2"},
		`{"version":1}`:                         {"version", "number"},
		`{"version":"a\nb"}`:                    {"version", "a\nb"},
		`{"version":"` + strings.Repeat("9", 256) + `"}`:                          {"version", strings.Repeat("9", 64)},
		strings.Repeat("x", 64<<10):                                               {"", strings.Repeat("x", 64)},
		`{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`: {"", `{"x":` + strings.Repeat("[", 59)},
	}
	for answer, want := range refused {
		bubbles(t, "refuses "+label(answer), func(t *testing.T) {
			_, err := shake(t, t.Context(), conn.Config{}, nil, answering(answer))
			wrong, ok := errors.AsType[*conn.AnswerError](wantError(t, err, conn.PhaseIdentify, true))
			if !ok || wrong.Command != "IDENTIFY" || wrong.Field != want.field || wrong.Value != want.value || wrong.Reason == "" {
				t.Errorf("error is %#v, want field %q, value %q", wrong, want.field, want.value)
			}
			if len(err.Error()) > 600 || strings.Contains(err.Error(), "\n") || !utf8.ValidString(err.Error()) {
				t.Errorf("error shows raw bytes, or too many: %q", err)
			}
		})
	}
}

// TestIdentifyRequires checks that configured features are required, whether the answer denies or
// omits them.
func TestIdentifyRequires(t *testing.T) {
	tls := newAuthority(t).client()
	timeout := &conn.Subscription{Topic: "t", Channel: "c", MessageTimeout: 5 * time.Second}
	sample := &conn.Subscription{Topic: "t", Channel: "c", SampleRate: 5}
	tests := map[string]struct {
		cfg    conn.Config
		sub    *conn.Subscription
		answer string
		want   error
		field  string // of an AnswerError
	}{
		"TLS, no":            {conn.Config{TLS: tls}, nil, `{"tls_v1":false}`, conn.ErrNoTLS, ""},
		"TLS, OK":            {conn.Config{TLS: tls}, orders, "OK", conn.ErrNoTLS, ""},
		"TLS, {}":            {conn.Config{TLS: tls}, orders, "{}", conn.ErrNoTLS, ""},
		"TLS, null":          {conn.Config{TLS: tls}, orders, `{"tls_v1":null}`, conn.ErrNoTLS, ""},
		"snappy, no":         {conn.Config{Compression: conn.Snappy}, nil, `{"snappy":false}`, conn.ErrNoCompression, ""},
		"snappy, OK":         {conn.Config{Compression: conn.Snappy}, nil, "OK", conn.ErrNoCompression, ""},
		"deflate, no":        {conn.Config{Compression: conn.Deflate}, nil, "{}", conn.ErrNoCompression, ""},
		"deflate for snappy": {conn.Config{Compression: conn.Snappy}, nil, `{"deflate":true}`, nil, "deflate"},
		"snappy for deflate": {conn.Config{Compression: conn.Deflate}, nil, `{"snappy":true}`, nil, "snappy"},
		"both for snappy":    {conn.Config{Compression: conn.Snappy}, nil, `{"snappy":true,"deflate":true}`, nil, "deflate"},
		"both for deflate":   {conn.Config{Compression: conn.Deflate}, nil, `{"snappy":true,"deflate":true}`, nil, "snappy"},
		"timeout, OK":        {conn.Config{}, timeout, "OK", nil, "msg_timeout"},
		"timeout, other":     {conn.Config{}, timeout, `{"msg_timeout":6000}`, nil, "msg_timeout"},
		"sample rate, {}":    {conn.Config{}, sample, "{}", nil, "sample_rate"},
	}
	for name, tt := range tests {
		bubbles(t, name, func(t *testing.T) {
			var sent []fake.Command
			_, err := shake(t, t.Context(), tt.cfg, tt.sub, func(p *fake.Peer) {
				answering(tt.answer)(p)
				_, _ = p.Next()
				sent = p.Log
			})
			failure := wantError(t, err, conn.PhaseIdentify, true)
			if tt.want != nil && !errors.Is(failure, tt.want) {
				t.Errorf("error is %v, want %v", err, tt.want)
			}
			if wrong, _ := errors.AsType[*conn.AnswerError](failure); tt.field != "" && (wrong == nil || wrong.Field != tt.field) {
				t.Errorf("error is %v, want one about %s", err, tt.field)
			}
			synctest.Wait()
			if len(sent) != 1 {
				t.Errorf("sent %v: nothing may follow IDENTIFY", sent)
			}
		})
	}
	bubbles(t, "compression is optional", func(t *testing.T) {
		for _, c := range []conn.Compression{conn.Snappy, conn.Deflate} {
			hs, err := shake(t, t.Context(), conn.Config{Compression: c, CompressionOptional: true}, nil, answering("OK"))
			if err != nil {
				t.Fatal(err)
			}
			if hs.R != hs.Conn || hs.W != hs.Conn {
				t.Errorf("%v: a layer over the connection without compression", c)
			}
		}
	})
}

// TestBufferTimeoutLimit checks that nsqd's buffering must leave time for an answer.
func TestBufferTimeoutLimit(t *testing.T) {
	for _, tt := range []struct {
		asked, answered time.Duration
		ok              bool
	}{
		{0, 250 * time.Millisecond, true},
		{0, 5 * time.Second, true}, // nsqd's own setting: the margin is capped
		{time.Second, time.Second, true},
		{1001 * time.Millisecond, 1001 * time.Millisecond, false},
	} {
		network := fake.NewNetwork(t, func(p *fake.Peer) {
			p.Subscribe(map[string]any{"msg_timeout": 4000, "output_buffer_timeout": tt.answered.Milliseconds()})
		})
		cfg := conn.Config{DialContext: network.DialContext, OutputBufferTimeout: tt.asked}
		sub := &conn.Subscription{Topic: "orders", Channel: "billing"}
		if !tt.ok {
			network = fake.NewNetwork(t, func(p *fake.Peer) {
				p.Identify(map[string]any{"msg_timeout": 4000, "output_buffer_timeout": tt.answered.Milliseconds()})
				_, _ = p.Next()
			})
			cfg.DialContext = network.DialContext
		}
		c, err := conn.Dial(t.Context(), "nsqd:4150", cfg, sub)
		if c != nil {
			c.Abort(nil)
		}
		if (err == nil) != tt.ok {
			t.Errorf("asked for %v, got %v: error is %v", tt.asked, tt.answered, err)
		}
		if e, ok := errors.AsType[*conn.AnswerError](err); !tt.ok && (!ok || e.Field != "output_buffer_timeout") {
			t.Errorf("error is %v, want one about output_buffer_timeout", err)
		}
	}
}
