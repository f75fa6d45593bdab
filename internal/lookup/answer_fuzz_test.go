package lookup_test

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/lookup"
)

func FuzzParse(f *testing.F) {
	a := node("a", 4150)
	for _, body := range []string{
		"", "null", "{}", "[]", nodes(), nodes(a), nodes(a, node("::1", 1), node("[fe80::1%eth0]", 65535), node("a b", 1), node("127.1", 70000)),
		`{"status_code":200,"status_txt":"OK","data":` + nodes(a) + `}`, `{"status_code":404,"status_txt":"TOPIC_NOT_FOUND","data":null}`,
		`{"message":"TOPIC_NOT_FOUND"}`, `{"producers":[5,null,"x",[],{}]}`, `{"producers":null}`, `{"data":{"producers":null}}`, `{"producers":[{"tcp_port":1e99}]}`,
		`{"producers":` + strings.Repeat("[", 10_001), `{"producers":[` + strings.Repeat("5,", 1000) + `5]}`, nodes(node("::ffff:1.2.3.4", 1), node("1.2.3.4", 1)),
	} {
		f.Add(http.StatusOK, []byte(body), 4)
		f.Add(http.StatusNotFound, []byte(body), 1)
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, most int) {
		most = max(1, most)
		limit := 1<<20 + uint64(512*len(body))
		if grown := check.Allocated(limit, func() { _, _, _ = lookup.Parse(status, body, most) }); grown > limit {
			t.Fatalf("%d bytes allocated for %d of input", grown, len(body))
		}
		answer, _, err := lookup.Parse(status, body, most)
		if err != nil {
			if len(answer.Addrs) != 0 {
				t.Fatalf("%+v with the error %v", answer, err)
			}
			return
		}
		if status != http.StatusOK || answer.NoTopic || len(answer.Addrs) > most || answer.Surplus > 0 && len(answer.Addrs) != most {
			t.Fatalf("status %d, at most %d: %+v", status, most, answer)
		}
		for i, addr := range answer.Addrs {
			dialable(t, addr)
			if slices.Contains(answer.Addrs[:i], addr) {
				t.Fatalf("%q twice", addr)
			}
		}
		// A canonical address is unchanged.
		got := lookup.NewTable(len(answer.Addrs)).Poll(0, answer.Addrs, lookup.Complete)
		if !slices.Equal(got.Added, answer.Addrs) || got.Refused != 0 {
			t.Fatalf("%q became %+v", answer.Addrs, got)
		}
	})
}

func dialable(t *testing.T, addr string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || net.JoinHostPort(host, port) != addr {
		t.Fatalf("%q: host %q, port %q, error %v", addr, host, port, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
		t.Fatalf("%q: port %q", addr, port)
	}
	if len(host) > 254 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/\@?#"'[]`, r) }) {
		t.Fatalf("host %q", host)
	}
}
