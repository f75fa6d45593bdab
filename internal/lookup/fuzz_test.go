package lookup_test

import (
	"net"
	"net/http"
	"net/url"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/lookup"
)

// allocated is the bytes that this process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

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
		before := allocated()
		answer, _, err := lookup.Parse(status, body, most)
		if grown := allocated() - before; grown > 1<<20+uint64(512*len(body)) {
			t.Fatalf("%d bytes allocated for %d of input", grown, len(body))
		}
		if err != nil {
			if len(answer.Addrs) != 0 {
				t.Fatalf("%+v beside the error %v", answer, err)
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
		// What is canonical stays as it is.
		got := lookup.NewTable(len(answer.Addrs)).Poll(0, answer.Addrs, true)
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

func FuzzCheckAddress(f *testing.F) {
	for _, addr := range []string{"", "a:1", "[::1]:1", "http://a:1", "https://a:1/b%2Fc/../d", "http://u:p@a:1", "a:1?b#c", "http://[fe80::1%25e]:1", "a:1/b", "://:1", "http:a:1"} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		err := lookup.CheckAddress(addr)
		c, newErr := lookup.NewClient(addr, lookup.Config{})
		if (err == nil) != (newErr == nil) {
			t.Fatalf("%q: error %v, but NewClient %v", addr, err, newErr)
		}
		if err != nil {
			loggable(t, err.Error())
			return
		}
		if strings.ContainsAny(addr, "@?#") && !strings.Contains(addr, "/") || c.Addr() != addr {
			t.Fatalf("%q accepted, Addr %q", addr, c.Addr())
		}
		if !strings.Contains(addr, "://") {
			addr = "http://" + addr
		}
		u, err := url.Parse(addr)
		if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Fatalf("%q accepted: %+v, error %v", addr, u, err)
		}
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 || u.Hostname() == "" {
			t.Fatalf("%q accepted: host %q", addr, u.Host)
		}
	})
}
