package discover

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/notify"
)

// TestRegistration: topic and channel are registered where an answer does not name the channel, before
// the poll counts for Answered. A failure is told of once, and is no failure of the poll.
func TestRegistration(t *testing.T) {
	const known = `{"channels":["billing"],"producers":[]}`
	const step = 400 * time.Millisecond // how long a request to register takes; a registration is two
	for name, tt := range map[string]struct {
		channel  string
		status   int    // of a lookup
		body     string // of a lookup
		created  int    // the status of a registration
		takes    time.Duration
		requests string // after the first lookup
		answered bool
		errors   uint64 // of registrations, in three polls
	}{
		"unknown":           {"billing", 404, `{"message":"TOPIC_NOT_FOUND"}`, 200, 2 * step, "/topic/create /channel/create", true, 1}, // it forgets
		"channel unknown":   {"billing", 200, producers(), 200, 2 * step, "/topic/create /channel/create", true, 1},
		"known":             {"billing", 200, known, 200, 0, "", true, 0},
		"another is known":  {"other", 200, known, 200, 2 * step, "/topic/create /channel/create", true, 1},
		"refused":           {"billing", 200, producers(), 500, step, "/topic/create", true, 3},
		"poll fails":        {"billing", 500, "oops", 200, 0, "", false, 0},
		"ephemeral channel": {"billing#ephemeral", 200, producers(), 200, 0, "", true, 0},
		"no channel":        {"", 200, producers(), 200, 0, "", true, 0},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			var requests check.Synced[string]
			c := client(t, func(r *http.Request) (int, string) {
				if r.URL.Path == "/lookup" {
					return tt.status, tt.body
				}
				requests.Add(r.URL.Path)
				check.Want(t, "topic", r.URL.Query().Get("topic"), "orders")
				if r.URL.Path == "/channel/create" {
					check.Want(t, "channel", r.URL.Query().Get("channel"), tt.channel)
				}
				time.Sleep(step)
				return tt.created, ""
			})
			f := newFixture(t, Config{Channel: tt.channel, Lookupds: []*lookup.Client{c}}, "s:1") // polls at the interval
			f.run()
			if tt.takes > 0 {
				time.Sleep(tt.takes - 1)
				synctest.Wait()
				check.Want(t, "Answered, not registered yet", f.Answered(), false)
				check.Want(t, "Polled, not registered yet", f.polled.Load(), 0)
				check.Want(t, "Reachable, not registered yet", f.Reachable(), true)
				time.Sleep(time.Nanosecond)
				synctest.Wait()
			}
			check.Want(t, "requests", strings.Join(requests.All(), " "), tt.requests)
			check.Want(t, "Answered", f.Answered(), tt.answered)
			check.Want(t, "Polled", f.polled.Load(), 1)
			f.round(3)
			time.Sleep(tt.takes)
			synctest.Wait()
			s := f.Stats()[0]
			check.Want(t, "RegisterErrors", s.RegisterErrors, tt.errors)
			check.Want(t, "RegisterErr", s.RegisterErr != nil, tt.errors > 0)
			check.Want(t, "Answered", f.Answered(), tt.answered)
			check.Want(t, "Reachable", f.Reachable(), tt.answered)
			told := 0
			for _, ev := range f.events.All() {
				if ev.Kind == notify.Register {
					told++
					check.Want(t, "source", ev.Source, "lookup:4161")
				}
			}
			check.Want(t, "events of registrations", told, min(int(tt.errors), 1))
			f.wantCalls("connect s:1")
		})
	}
}
