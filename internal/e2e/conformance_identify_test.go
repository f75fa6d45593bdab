package e2e

import (
	"fmt"
	"maps"
	"reflect"
	"time"
)

// identifyCases are answers to IDENTIFY, with all fields.
func identifyCases() []conformCase {
	var cases []conformCase
	for _, r := range []struct {
		name          string
		asks, differs map[string]any
	}{
		{"nothing", nil, nil},
		{"all", map[string]any{"msg_timeout": 1200, "sample_rate": 7, "output_buffer_size": 64, "output_buffer_timeout": 25, "heartbeat_interval": 1000, "client_id": "me"},
			map[string]any{"msg_timeout": 1200, "sample_rate": 7, "output_buffer_size": 64, "output_buffer_timeout": 25}},
		{"no buffer", map[string]any{"output_buffer_size": -1}, map[string]any{"output_buffer_size": 1, "output_buffer_timeout": 0}},
		{"no buffer timeout", map[string]any{"output_buffer_timeout": -1}, map[string]any{"output_buffer_timeout": 0}},
		{"unknown fields", map[string]any{"topology_zone": "a", "new": []int{1}}, nil},
	} {
		cases = append(cases, conformCase{"IDENTIFY asks for " + r.name, nil, func(b *bench) {
			want := map[string]any{
				"max_rdy_count": conformMaxRDY, "version": "1.3.0",
				"max_msg_timeout": conformMaxMsgTimeout.Milliseconds(), "msg_timeout": conformMsgTimeout.Milliseconds(),
				"tls_v1": false, "snappy": false, "deflate": false, "deflate_level": 6, "max_deflate_level": 6,
				"sample_rate": 0, "auth_required": b.target.auth, "output_buffer_size": 16384, "output_buffer_timeout": 5,
			}
			maps.Copy(want, b.target.asks)
			maps.Copy(want, r.differs)
			_, got := b.identify(r.asks)
			for _, m := range []map[string]any{want, got} {
				for k, v := range m {
					m[k] = fmt.Sprint(v)
				}
			}
			if !reflect.DeepEqual(got, want) {
				b.Errorf("got  %v\nwant %v", got, want)
			}
		}})
	}
	for _, asks := range []string{`[]`, `x`, `"x"`, `{"heartbeat_interval":5}`, `{"heartbeat_interval":60001}`, `{"heartbeat_interval":-2}`,
		`{"msg_timeout":999}`, fmt.Sprintf(`{"msg_timeout":%d}`, conformMaxMsgTimeout.Milliseconds()+1), `{"msg_timeout":-1}`,
		`{"sample_rate":100}`, `{"sample_rate":-1}`, `{"output_buffer_size":63}`, `{"output_buffer_size":65537}`,
		`{"output_buffer_timeout":24}`, `{"output_buffer_timeout":30001}`, ``} {
		cases = append(cases, conformCase{"IDENTIFY refuses " + asks, isPlain, func(b *bench) {
			c := b.bare()
			c.send("%s", withBody("IDENTIFY", asks))
			c.refused("E_BAD_BODY")
		}})
	}
	return append(cases,
		conformCase{"IDENTIFY without negotiation", isPlain, func(b *bench) {
			c := b.bare()
			c.send("%s%s", withBody("IDENTIFY", `{}`), withBody("IDENTIFY", `{"msg_timeout":1000}`))
			c.expect("OK")
			c.expect("OK")
		}},
		conformCase{"no IDENTIFY at all", isPlain, func(b *bench) {
			c := b.bare()
			c.send("SUB %s %s\r\n%s", b.topic, channel, withBody("PUB "+b.topic, "m"))
			c.expect("OK")
			c.expect("OK")
			c.send("RDY 1\r\n")
			c.message("m", 1)
		}},
	)
}

// heartbeatCases are heartbeats and missing ones.
func heartbeatCases() []conformCase {
	return []conformCase{
		{"heartbeats come before IDENTIFY and need an answer", isPlain, func(b *bench) {
			start := time.Now()
			c := newPlainClient(b.TB, b.dial(b.TB))
			c.silent = true
			c.listen(c.nc)
			c.expect("_heartbeat_")
			for c.next("a heartbeat, or the end").text == "_heartbeat_" {
			}
			if took := time.Since(start); took < 2*conformHeartbeat-early {
				b.Errorf("closed after %v, want %v", took, 2*conformHeartbeat)
			}
		}},
		{"any command answers them", isPlain, func(b *bench) {
			c := newPlainClient(b.TB, b.dial(b.TB))
			c.silent = true
			c.listen(c.nc)
			c.send("%s", withBody("PUB "+b.topic, "x"))
			c.expect("OK")
			for range 4 {
				c.expect("_heartbeat_")
				c.send("NOP\n")
			}
			c.send("%s", withBody("PUB "+b.topic, "x"))
			for a := c.next("OK"); a.text != "OK"; a = c.next("OK") {
				if a.text != "_heartbeat_" {
					b.Fatalf("got %+v, want OK", a)
				}
			}
		}},
		{"the interval that the client asks for", isPlain, func(b *bench) {
			start := time.Now()
			c := newPlainClient(b.TB, b.dial(b.TB))
			c.silent = true
			c.listen(c.nc)
			c.send("%s", withBody("IDENTIFY", `{"heartbeat_interval":1000}`))
			c.expect("OK")
			c.expect("_heartbeat_")
			if took := time.Since(start); took < time.Second-early {
				b.Errorf("the first after %v", took)
			}
		}},
		{"no heartbeats", isPlain, func(b *bench) {
			c := newPlainClient(b.TB, b.dial(b.TB))
			c.silent = true
			c.listen(c.nc)
			c.send("%s", withBody("IDENTIFY", `{"heartbeat_interval":-1}`))
			c.expect("OK")
			select {
			case got := <-c.answer:
				b.Errorf("got %+v, want silence", got)
			case <-time.After(3 * conformHeartbeat):
			}
			c.send("%s", withBody("PUB "+b.topic, "x"))
			c.expect("OK")
		}},
	}
}
