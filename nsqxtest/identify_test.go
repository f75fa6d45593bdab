package nsqxtest_test

import (
	"compress/flate"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

// Tests of identify.go and option.go.

func TestIdentify(t *testing.T) {
	defaults := map[string]any{
		"max_rdy_count": 2500., "version": "1.3.0", "max_msg_timeout": 900_000., "msg_timeout": 60_000., "tls_v1": false,
		"deflate": false, "deflate_level": 6., "max_deflate_level": 6., "snappy": false, "sample_rate": 0.,
		"auth_required": false, "output_buffer_size": 16_384., "output_buffer_timeout": 250.,
	}
	for _, tt := range []struct {
		name, asks string
		opts       []nsqxtest.ServerOption
		differs    map[string]any
	}{
		{"defaults", "", nil, nil},
		{"set by the client", `"msg_timeout":2000,"sample_rate":5,"output_buffer_size":64,"output_buffer_timeout":25,"tls_v1":true,"snappy":true`, nil,
			map[string]any{"msg_timeout": 2000., "sample_rate": 5., "output_buffer_size": 64., "output_buffer_timeout": 25.}},
		{"no buffer", `"output_buffer_size":-1`, nil, map[string]any{"output_buffer_size": 1., "output_buffer_timeout": 0.}},
		{"set by the server", "", []nsqxtest.ServerOption{
			nsqxtest.WithMaxRDY(7), nsqxtest.WithMessageTimeout(time.Second), nsqxtest.WithMaxMessageTimeout(time.Minute), nsqxtest.WithAuth("s"),
		}, map[string]any{"max_rdy_count": 7., "msg_timeout": 1000., "max_msg_timeout": 60_000., "auth_required": true}},
	} {
		check.Bubble(t, tt.name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, tt.opts...)
			c := connect(t, s)
			asks := `"feature_negotiation":true,"client_id":"me"`
			if tt.asks != "" {
				asks += "," + tt.asks
			}
			c.identify(asks)
			var answer map[string]any
			if err := json.Unmarshal([]byte(c.got()[0]), &answer); err != nil {
				t.Fatal(err)
			}
			check.Want(t, "fields", len(answer), len(defaults))
			for field, v := range defaults {
				if other, ok := tt.differs[field]; ok {
					v = other
				}
				check.Want(t, field, answer[field], v)
			}
			check.Want(t, "client_id", s.Conns()[0].Identify()["client_id"], any("me"))
		})
	}
}

func TestDeflate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := connect(t, s)
		c.identify(`"feature_negotiation":true,"deflate":true,"deflate_level":3`)
		if got := c.got(); len(got) != 2 || got[1] != "OK" {
			t.Fatalf("got %q, want the answer and OK", got)
		}
		z, _ := flate.NewWriter(c.w, 6)
		c.w = flusher{z}
		c.send("SUB orders billing\nRDY 1\n")
		c.want("OK")
		s.Publish("orders", []byte("x"))
		c.want("message 1 attempt 1: x")
		c.send("FIN %s\n", id(1))
		synctest.Wait()
		check.Want(t, "finished", s.Stats("orders", "billing").Finished, 1)
	})
}

func TestAuth(t *testing.T) {
	auth := func(t *testing.T) *client {
		c := connect(t, nsqxtest.NewServer(t, nsqxtest.WithAuth("s3cret")))
		c.identify("")
		c.want("OK")
		return c
	}
	check.Bubble(t, "right", func(t *testing.T) {
		c := auth(t)
		c.send("%s", with("AUTH", "s3cret")+"SUB orders billing\n")
		c.want(`{"identity":"nsqxtest","identity_url":"","permission_count":1}`, "OK")
	})
	check.Bubble(t, "wrong", func(t *testing.T) {
		c := auth(t)
		c.send("%s", with("AUTH", "secret"))
		c.want("error E_AUTH_FAILED AUTH failed", "EOF")
	})
	check.Bubble(t, "none", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithAuth("s3cret"), nsqxtest.WithoutChecks(nsqxtest.CheckHandshake))
		for _, cmd := range []string{"SUB orders billing\n", with("PUB orders", "x")} {
			c := connect(t, s)
			c.identify("")
			c.send("%s", cmd)
			c.want("OK", "error E_AUTH_FIRST AUTH required before "+cmd[:3], "EOF")
		}
	})
}
