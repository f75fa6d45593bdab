package lookup_test

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/lookup"
)

func TestCheckAddress(t *testing.T) {
	for _, addr := range []string{
		"127.0.0.1:4161", "lookup:4161", "lookup_1.zone-a.example.:4161", "[::1]:4161", "http://127.0.0.1:4161", "https://lookup.example:443",
		"https://lookup.example:443/", "https://lookup.example:443/nsq/lookupd", "http://[fe80::1%25eth0]:4161", "HTTP://LOOKUP:65535",
	} {
		if err := lookup.CheckAddress(addr); err != nil {
			t.Errorf("%q: %v", addr, err)
		}
		if _, err := lookup.NewClient(addr, lookup.Config{}); err != nil {
			t.Errorf("NewClient(%q): %v", addr, err)
		}
	}
	for addr, reason := range map[string]string{
		"":                                "is empty",
		"lookup":                          "has no port",
		"lookup:":                         "has no port",
		"http://lookup/":                  "has no port",
		":4161":                           "has no valid host",
		"lookup:0":                        "has a port outside 1 to 65535",
		"lookup:65536":                    "has a port outside 1 to 65535",
		"lookup:99999999999999999999":     "has a port outside 1 to 65535",
		"lookup:http":                     "is malformed",
		"::1:4161":                        "is malformed",
		"a b:4161":                        "is malformed",
		"a\n:4161":                        "is malformed",
		"löökup:4161":                     "has no valid host",
		"127.1:4161":                      "has no valid host",
		"lookup:4161/nsq":                 "has a path, but no scheme",
		"ftp://lookup:4161":               "has a scheme other than http and https",
		"unix:///run/lookup":              "has a scheme other than http and https",
		"http://canary:canary@lookup:1":   "has user info",
		"canary@lookup:4161":              "has user info",
		"http://lookup:1?token=canary":    "has a query",
		"lookup:4161?":                    "has a query",
		"http://lookup:1/#canary":         "has a fragment",
		"lookup:4161#":                    "has a fragment",
		"http://u:canary%zz@lookup:1":     "is malformed",
		strings.Repeat("a", 5000) + ":80": "has no valid host",
	} {
		err := lookup.CheckAddress(addr)
		var bad *lookup.AddressError
		if !errors.As(err, &bad) || bad.Reason != reason {
			t.Errorf("%q: error %v, want one with %q", addr, err, reason)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "nsqx: nsqlookupd address ") || !strings.Contains(text, reason+`: use "host:port"`) ||
			len(text) > 600 || strings.Contains(text, "canary") || strings.Contains(bad.Addr, "canary") {
			t.Errorf("%q: error %q", addr, text)
		}
		if _, newErr := lookup.NewClient(addr, lookup.Config{}); newErr == nil || newErr.Error() != err.Error() {
			t.Errorf("NewClient(%q): error %v, want %v", addr, newErr, err)
		}
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
