package wire_test

import (
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

func TestIsHeartbeat(t *testing.T) {
	for data, want := range map[string]bool{"_heartbeat_": true, "": false, "OK": false, "_heartbeat": false, "_heartbeat_ ": false, "_HEARTBEAT_": false} {
		equal(t, data, wire.IsHeartbeat([]byte(data)), want)
	}
}
