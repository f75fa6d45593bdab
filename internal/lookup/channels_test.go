package lookup_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/lookup"
)

// TestChannelsOfTopic: the channels of a topic, as nsqlookupd names them.
func TestChannelsOfTopic(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		answer string
		want   string
		err    string // in the error
	}{
		"nsqlookupd":           {200, `{"channels":["audit","billing"]}`, "audit billing", ""},
		"nsqlookupd, old":      {200, `{"status_code":200,"status_txt":"OK","data":{"channels":["audit"]}}`, "audit", ""},
		"nsqlookupd, none":     {200, `{"channels":[]}`, "", ""},
		"nsqlookupd, no topic": {404, `{"message":"TOPIC_NOT_FOUND"}`, "", ""},
		"nsqlookupd, refused":  {500, `no`, "", "500"},
		"nsqlookupd, garbage":  {200, `[`, "", "nsqlookupd"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				check.Want(t, "topic", r.URL.Query().Get("topic"), "orders")
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.answer)
			}))
			defer s.Close()
			c, _ := lookup.NewClient(s.URL, lookup.Config{})
			got, err := c.Channels(t.Context(), "orders")
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
