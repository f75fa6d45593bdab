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

// TestEndOfRefusals: the end says whether nsqd has accepted publishes since the last that it refused.
func TestEndOfRefusals(t *testing.T) {
	err := &conn.Error{Addr: "a:1", Phase: conn.PhaseStream, Err: &conn.ServerError{Code: "E_PUB_FAILED"}}
	refused := connEvent(Disconnect, "a:1", err)
	for want, later := range map[string]uint64{
		`it has accepted others" nsqd=a:1 duration_seconds=0 refused=1 accepted=5`:                     12,
		`it was sent none, so this may not be over" nsqd=a:1 duration_seconds=0 refused=1 accepted=0`:  7,
		`it was sent none, so this may not be over" nsqd=a:1 duration_seconds=0 refused=1 accepted=0 `: 0, // its address was removed
	} {
		check.Bubble(t, want, func(t *testing.T) {
			confirmed := uint64(7)
			lines := writtenOf(t, "", "", []step{{refused, 2 * repeat}}, func(q *Queue) {
				q.Confirmed(func(addr string) uint64 {
					defer func() { confirmed = later }()
					return confirmed
				})
			})
			check.Want(t, "end", strings.Contains(lines[1], strings.TrimSpace(want)), true)
		})
	}
}
