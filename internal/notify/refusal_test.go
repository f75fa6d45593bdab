package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
)

// TestRefusals: nsqd closes the connection with each publish that it refuses, which is no outage.
func TestRefusals(t *testing.T) {
	failed := func(addr, code string) step {
		err := &conn.Error{Addr: addr, Phase: conn.PhaseStream, Err: &conn.ServerError{Code: code}}
		return step{connEvent(Disconnect, addr, err), time.Second}
	}
	back := step{connEvent(Connect, "a:1", nil), time.Second}
	many := make([]step, 0, 2*maxOutages)
	for i := range 2 * maxOutages {
		many = append(many, step{failed(fmt.Sprint("a:", i), "E_PUB_FAILED").ev, 0})
	}
	for name, tt := range map[string]struct {
		topic string
		steps []step
		want  string // texts, with the seconds since the start
	}{
		"once": {"", []step{failed("a:1", "E_PUB_FAILED"), back, {back.ev, 2 * time.Minute}},
			"0s nsqd refuses a publish, 2s connected, 1m0s nsqd has refused no publish for a minute"},
		"for two minutes": {"", append(times(60, failed("a:1", "E_MPUB_FAILED"), back), step{back.ev, time.Hour}),
			"0s nsqd refuses a publish, 1m0s nsqd still refuses publishes, 2m0s connected, 2m58s nsqd has refused no publish for a minute"},
		"then it is down": {"", []step{failed("a:1", "E_PUB_FAILED"), {connEvent(DialError, "a:1", lostConn), time.Second}, back},
			"0s nsqd refuses a publish, 1s cannot connect, 2s connected again, 3s nsqd refused publishes until the end"},
		"the secret":      {"", []step{failed("a:1", "E_AUTH_FAILED")}, "0s connection lost"},
		"of a consumer":   {"orders", []step{failed("a:1", "E_PUB_FAILED")}, "0s connection lost"},
		"more than known": {"", many, "0s nsqd refuses a publish, 0s nsqd refuses a publish, 0s nsqd refuses a publish, 0s connection lost, 0s connection lost, 0s connection lost, 0s nsqd refused publishes until the end, 0s nsqd refused publishes until the end, 0s nsqd refused publishes until the end"},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			var got []string
			for _, line := range writtenOf(t, tt.topic, tt.topic, tt.steps) {
				at, _, _ := strings.Cut(line, " ")
				if m := texts.FindStringSubmatch(line); !strings.Contains(line, "others=") {
					got = append(got, at+" "+m[2])
				}
			}
			check.Want(t, "log", strings.Join(got, ", "), tt.want)
		})
	}
}
