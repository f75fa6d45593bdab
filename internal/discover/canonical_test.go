package discover

import (
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
)

// TestCanonical: what the filter sees is what is dialled, in one form, and static addresses have the
// same form.
func TestCanonical(t *testing.T) {
	const found = "[::ffff:127.0.0.1]:4150 127.0.0.1:04150 [127.0.0.1]:4150 [::FFFF:7f00:1]:4150 " +
		"NSQD.Example.com:4150 nsqd.example.com:4150 [0:0::1]:4150 [fe80::0:1%eth0]:4150 [FE80::1%eth0]:4150"
	const good = "127.0.0.1:4150 nsqd.example.com:4150 [::1]:4150 [fe80::1%eth0]:4150"
	check.Bubble(t, "found", func(t *testing.T) {
		var seen check.Synced[string]
		f := newFixture(t, Config{
			Sources: []Source{answers(answer{found, nil})},
			Filter:  func(addr string) bool { seen.Add(addr); return addr != "127.0.0.1:4150" },
		})
		f.run()
		f.wantCalls("connect nsqd.example.com:4150", "connect [::1]:4150", "connect [fe80::1%eth0]:4150")
		for _, addr := range seen.All() {
			if !strings.Contains(good, addr) {
				t.Errorf("the filter saw %q", addr)
			}
		}
	})
	check.Bubble(t, "numbers for an IPv4 address", func(t *testing.T) {
		f := newFixture(t, Config{
			Sources: []Source{answers(answer{"2130706433:4150 0x7f.1:4150 0177.0.0.1:4150 127.1:4150 a:4150", nil})},
			Filter:  func(addr string) bool { return !strings.HasPrefix(addr, "127.") },
		})
		f.run()
		f.wantCalls("connect a:4150")
		f.wantText(`nsqx: a discoverer named 4 addresses that cannot be used, such as "2130706433:4150": want host:port or unix:///path`)
	})
	check.Bubble(t, "static", func(t *testing.T) {
		f := newFixture(t, Config{Sources: []Source{answers(answer{found, nil})}}, strings.Fields(found)...)
		f.run()
		var want []string
		for addr := range strings.FieldsSeq(good) {
			want = append(want, "connect "+addr)
		}
		f.wantCalls(want...)
	})
}
