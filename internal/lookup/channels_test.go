package lookup_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/lookup"
)

// TestChannelsOfTopic: the channels of a topic, as nsqlookupd and nsqd name them.
func TestChannelsOfTopic(t *testing.T) {
	const stats = `{"topics":[{"topic_name":"other","channels":[{"channel_name":"x","depth":9}]},` +
		`{"topic_name":"orders","channels":[{"channel_name":"billing","depth":1,"in_flight_count":2,"deferred_count":3},{"channel_name":"audit"}]}]}`
	for name, tt := range map[string]struct {
		status int
		answer string
		nsqd   bool
		want   string
		err    string // in the error
	}{
		"nsqlookupd":           {200, `{"channels":["audit","billing"]}`, false, "audit billing", ""},
		"nsqlookupd, old":      {200, `{"status_code":200,"status_txt":"OK","data":{"channels":["audit"]}}`, false, "audit", ""},
		"nsqlookupd, none":     {200, `{"channels":[]}`, false, "", ""},
		"nsqlookupd, no topic": {404, `{"message":"TOPIC_NOT_FOUND"}`, false, "", ""},
		"nsqlookupd, refused":  {500, `no`, false, "", "500"},
		"nsqlookupd, garbage":  {200, `[`, false, "", "nsqlookupd"},
		"nsqd":                 {200, stats, true, "audit:0 billing:6", ""},
		"nsqd, old":            {200, `{"status_code":200,"data":` + stats + `}`, true, "audit:0 billing:6", ""},
		"nsqd, no topic":       {200, `{"topics":[]}`, true, "", ""},
		"nsqd, refused":        {403, `no`, true, "", "403"},
		"nsqd, garbage":        {200, `x`, true, "", "nsqd at http"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				check.Want(t, "topic", r.URL.Query().Get("topic"), "orders")
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.answer)
			}))
			defer s.Close()
			var got []string
			var err error
			if tt.nsqd {
				n, _ := lookup.NewNSQD(s.URL, nil)
				var counts map[string]int64
				counts, err = n.Channels(t.Context(), "orders")
				for _, name := range slices.Sorted(maps.Keys(counts)) {
					got = append(got, fmt.Sprintf("%s:%d", name, counts[name]))
				}
			} else {
				c, _ := lookup.NewClient(s.URL, lookup.Config{})
				got, err = c.Channels(t.Context(), "orders")
			}
			check.Want(t, "channels", strings.Join(got, " "), tt.want)
			check.Want(t, "failed", err != nil, tt.err != "")
			if err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error is %v, want %q", err, tt.err)
			}
		})
	}
}

func TestNextPort(t *testing.T) {
	for addr, want := range map[string]string{
		"a:4150": "a:4151", "[::1]:4150": "[::1]:4151", "a:65535": "", "a:0": "", "a": "", "/tmp/nsqd.sock": "", "a:x": "",
	} {
		got, _, ok := lookup.NextPort(addr)
		check.Want(t, addr, got, want)
		check.Want(t, addr+" is one", ok, want != "")
	}
}
