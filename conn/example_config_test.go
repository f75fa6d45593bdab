package conn_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// All faults are reported together.
func ExampleConfig_Validate() {
	err := conn.Config{
		DialTimeout:         2 * time.Hour,
		DeflateLevel:        6,
		CompressionOptional: true,
		RequireAuth:         true,
	}.Validate()
	fmt.Println(err)

	if fault, ok := errors.AsType[*conn.ConfigError](err); ok {
		fmt.Println("the first is about", fault.Field)
	}
	// Output:
	// nsqx: conn.Config.DialTimeout is 2h0m0s: allowed is 1ms to 1h0m0s, or 0 for the default
	// nsqx: conn.Config.DeflateLevel is 6, but Compression is none: it goes with Deflate
	// nsqx: conn.Config.CompressionOptional is set, but Compression is none: it goes with Snappy or Deflate
	// nsqx: conn.Config.RequireAuth is set, but AuthSecret is not
	// the first is about conn.Config.DialTimeout
}

// A Config can be logged: neither the secret nor the contents of TLS are shown.
func ExampleConfig_String() {
	cfg := conn.Config{
		TLS:               &tls.Config{ServerName: "nsqd.internal"},
		AuthSecret:        func(context.Context) (string, error) { return "sesame", nil },
		Compression:       conn.Snappy,
		HeartbeatInterval: 15 * time.Second,
	}
	fmt.Println(cfg)
	// Output:
	// conn.Config{tls:"true" auth_secret:"true" compression:"snappy" heartbeat_interval:"15s"}
}
