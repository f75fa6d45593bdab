package lookup_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/lookup"
)

// L8.
func TestHosts(t *testing.T) {
	label := strings.Repeat("a", 63)
	for host, want := range map[string]string{
		"nsqd":                    "nsqd:4150",
		"NSQD.Example":            "nsqd.example:4150",
		"nsqd.example.":           "nsqd.example.:4150",
		"my_nsqd-1":               "my_nsqd-1:4150",
		"xn--nsq-rna":             "xn--nsq-rna:4150",
		"0f3c1ab29d44":            "0f3c1ab29d44:4150",
		"948201374655":            "948201374655:4150", // a container
		"10.0.0.1":                "10.0.0.1:4150",
		"::1":                     "[::1]:4150",
		"[::1]":                   "[::1]:4150",
		"2001:DB8::0:1":           "[2001:db8::1]:4150",
		"::ffff:10.0.0.1":         "10.0.0.1:4150",
		"[::ffff:a00:1]":          "10.0.0.1:4150",
		"fe80::1%eth0.100":        "[fe80::1%eth0.100]:4150",
		"[fe80::1%2]":             "[fe80::1%2]:4150",
		label + "." + label:       label + "." + label + ":4150",
		"":                        "",
		" ":                       "",
		"a b":                     "",
		" a":                      "",
		"a:1":                     "",
		"a:1:2":                   "",
		"[::1":                    "",
		"::1]":                    "",
		"[[::1]]":                 "",
		"[]":                      "",
		"[10.0.0.1]":              "",
		"[nsqd]":                  "",
		"[::1]:4150":              "",
		"fe80::1%":                "",
		"fe80::1%a\n":             "",
		"fe80::1%a/b":             "",
		"fe80::1%" + label + "ab": "",
		"-o":                      "",
		"a-.b":                    "",
		"a..b":                    "",
		".a":                      "",
		".":                       "",
		"a/b":                     "",
		"a@b":                     "",
		"a%20b":                   "",
		"a\x00":                   "",
		"a\nb":                    "",
		"http://x":                "",
		"unix:///run/x":           "",
		"nsqd.exämple":            "",
		"\xff":                    "",
		label + "a":               "",
		strings.Repeat("a.", 150): "",
		"2130706433":              "", // 127.0.0.1 to many resolvers
		"0x7f000001":              "",
		"127.1":                   "",
		"0177.0.0.1":              "",
		"127.0.0.1.":              "",
		"1.2.3.4.5":               "",
		"256.0.0.1":               "",
	} {
		entry := fmt.Sprintf(`{"broadcast_address":"%s","tcp_port":4150}`, strings.NewReplacer("\n", `\n`, "\x00", `\u0000`).Replace(host))
		got, err := answers(t, http.StatusOK, nodes(entry), lookup.Config{}).Nodes(t.Context())
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		if addr := strings.Join(got.Addrs, ","); addr != want || got.Invalid == 0 != (want != "") {
			t.Errorf("%q: %q, %d invalid, want %q", host, addr, got.Invalid, want)
		}
	}
}
