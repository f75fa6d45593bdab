package lookup_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/lookup"
)

// L1, and other bodies that are not answers. TestTable shows that addresses are kept then.
func TestUnreadable(t *testing.T) {
	for _, body := range []string{
		"", "<html><body>It works!</body></html>", `{"producers":[`, nodes()[:len(nodes())-1], nodes() + nodes(), nodes() + "x",
		"null", "[]", "5", `"x"`, "{}", `{"channels":[]}`, "\xef\xbb\xbf" + nodes(), `{"producers":{}}`, `{"producers":"x"}`, `{"producers":5}`,
		`{"message":"TOPIC_NOT_FOUND"}`, `{"data":null}`, `{"data":{}}`, `{"data":[]}`, `{"data":5}`, `{"status_code":200}`, `{"status_code":"200","data":` + nodes() + `}`,
		`{"status_code":1` + strings.Repeat("0", 5000) + `,"data":` + nodes() + `}`,
		`{"producers":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, "\x00", "\x1b[2J" + strings.Repeat("é", 2000),
	} {
		c := answers(t, http.StatusOK, body, lookup.Config{})
		answer, err := c.Lookup(t.Context(), "orders")
		lookupError(t, err, http.StatusOK, "nsqx: nsqlookupd "+c.Addr()+": status 200: ")
		if len(answer.Addrs) != 0 || answer.NoTopic {
			t.Errorf("%.80q: %+v with an error", body, answer)
		}
	}
}

func TestAnswers(t *testing.T) {
	a, b := node("a", 4150), node("b", 4150)
	tests := []struct {
		row, body string
		want      []string
		invalid   int
	}{
		{"L6 new", nodes(b, a), []string{"b:4150", "a:4150"}, 0},
		{"L6 old", `{"status_code":200,"status_txt":"OK","data":` + nodes(b, a) + `}`, []string{"b:4150", "a:4150"}, 0},
		{"L6 old without a status", `{"data":` + nodes(a) + `}`, []string{"a:4150"}, 0},
		{"L6 both", `{"data":` + nodes(a) + `,"producers":[` + b + `]}`, []string{"b:4150"}, 0},
		{"L7", nodes(node("x", 0), node("x", -1), node("x", 65536), node("x", int64(1)<<40), node("x", `"4150"`), node("x", 4150.5), node("x", "1e99"),
			node("x", "null"), node("x", "[]"), `{"broadcast_address":"x"}`, node("x", 65535), node("x", 1)), []string{"x:65535", "x:1"}, 10},
		{"entries", nodes("null", "5", `"x"`, "[]", "{}", a, `{"broadcast_address":5,"tcp_port":4150}`, `{"broadcast_address":null,"tcp_port":4150}`), []string{"a:4150"}, 7},
		{"L10", nodes(slices.Repeat([]string{a}, 1000)...), []string{"a:4150"}, 0},
		{"L10 other spellings", nodes(a, node("A", 4150), node("::1", 1), node("[0:0::1]", 1), node("127.0.0.1", 1), node("::ffff:127.0.0.1", 1)),
			[]string{"a:4150", "[::1]:1", "127.0.0.1:1"}, 0},
		{"L12 unknown fields", `{"x":{"producers":5},"message":5,"status_txt":5,"producers":[{"tombstones":[true],"topics":["orders"],` + a[1:] + `]}`, []string{"a:4150"}, 0},
		{"L12 two lists", `{"producers":[` + a + `,5],"producers":[` + b + `]}`, []string{"b:4150"}, 0},
		{"L12 two ports", nodes(`{"broadcast_address":"a","tcp_port":1,"tcp_port":2}`), []string{"a:2"}, 0},
		{"L12 two data", `{"data":` + nodes(a) + `,"data":` + nodes(b) + `}`, []string{"b:4150"}, 0},
		{"L13", nodes(), nil, 0},
		{"L13 old", `{"status_code":200,"status_txt":"OK","data":` + nodes() + `}`, nil, 0},
		{"L13 null", `{"producers":null}`, nil, 0},
		{"L13 old null", `{"status_code":200,"data":{"producers":null}}`, nil, 0},
		{"white space", " {\n\t\"producers\" : [ " + a + " , " + b + " ] }\r\n", []string{"a:4150", "b:4150"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.row, func(t *testing.T) {
			c := answers(t, http.StatusOK, tt.body, lookup.Config{})
			for name, ask := range map[string]func() (lookup.Answer, error){
				"Lookup": func() (lookup.Answer, error) { return c.Lookup(t.Context(), "orders") },
				"Nodes":  func() (lookup.Answer, error) { return c.Nodes(t.Context()) },
			} {
				got, err := ask()
				if err != nil || !slices.Equal(got.Addrs, tt.want) || got.Invalid != tt.invalid || got.Surplus != 0 || got.NoTopic {
					t.Errorf("%s: %+v, error %v, want %q and %d invalid", name, got, err, tt.want, tt.invalid)
				}
			}
		})
	}
}

// L10 and F33.
func TestSurplus(t *testing.T) {
	var entries []string
	for i := range 20_000 {
		entries = append(entries, fmt.Sprintf(`{"broadcast_address":"n%d","tcp_port":1}`, i))
	}
	for most, want := range map[int]int{0: 4096, 1: 1, 1000: 1000, 19_999: 19_999, 20_000: 20_000, math.MaxInt: 20_000} {
		got, err := answers(t, http.StatusOK, nodes(append(entries, "5", entries[0])...), lookup.Config{MaxAddrs: most}).Nodes(t.Context())
		if err != nil || len(got.Addrs) != want || got.Surplus != 20_000-want || got.Invalid != 1 {
			t.Errorf("at most %d: %d addresses, %d surplus, %d invalid, error %v", most, len(got.Addrs), got.Surplus, got.Invalid, err)
		}
		if got.Addrs[0] != "n0:1" || got.Addrs[want-1] != fmt.Sprintf("n%d:1", want-1) {
			t.Errorf("at most %d: %s … %s", most, got.Addrs[0], got.Addrs[want-1])
		}
	}
}

func TestStatus(t *testing.T) {
	tests := []struct {
		status     int
		body       string
		wantStatus int // 0 for an answer without the topic
		want       string
	}{
		{404, `{"message":"TOPIC_NOT_FOUND"}`, 0, ""},
		{404, `{"status_code":404,"status_txt":"TOPIC_NOT_FOUND","data":null}`, 0, ""},
		{200, `{"status_code":404,"status_txt":"TOPIC_NOT_FOUND","data":null}`, 0, ""},
		{404, `{"message":"NOT_FOUND"}`, 404, `status 404: "NOT_FOUND"`}, // an nsqd instead of nsqlookupd
		{404, "404 page not found\n", 404, `status 404: "404 page not found\n"`},
		{404, "", 404, `status 404: ""`},
		{200, `{"status_code":500,"status_txt":"MISSING_ARG_TOPIC","data":null}`, 500, `status 500: "MISSING_ARG_TOPIC"`},
		{200, `{"status_code":-5,"data":` + nodes() + `}`, -5, `status -5: "{`},
		{400, `{"message":"INVALID_REQUEST"}`, 400, `status 400: "INVALID_REQUEST"`},
		{500, `{"message":5}`, 500, `status 500: "{\"message\":5}"`}, // L3
		{500, nodes(node("a", 1)), 500, "status 500: "},
		{403, `{"message":"\u001b[2J` + strings.Repeat("x", 10_000) + `"}`, 403, `status 403: "\x1b[2J` + strings.Repeat("x", 252) + `"`},
		{403, strings.Repeat("\x01", 2<<20), 403, "status 403: "},
		{403, strings.Repeat("\xc3\xa9", 500), 403, strings.Repeat("é", 128) + `"`},
		{204, "", 204, "status 204"},
		{206, nodes(node("a", 1)), 206, "status 206"},
		{304, "", 304, "status 304"},
		{999, "", 999, "status 999"},
	}
	for _, tt := range tests {
		c := answers(t, tt.status, tt.body, lookup.Config{})
		got, err := c.Lookup(t.Context(), "orders")
		if tt.wantStatus == 0 {
			if err != nil || !got.NoTopic || len(got.Addrs) != 0 {
				t.Errorf("%d %.80q: %+v, error %v, want no topic", tt.status, tt.body, got, err)
			}
			_, err = c.Nodes(t.Context())
			lookupError(t, err, http.StatusNotFound, "status 404: no such topic")
			continue
		}
		lookupError(t, err, tt.wantStatus, tt.want)
		if got.NoTopic || len(got.Addrs) != 0 {
			t.Errorf("%d %.80q: %+v with an error", tt.status, tt.body, got)
		}
		if inner := errors.Unwrap(err); len(inner.Error()) > 1200 {
			t.Errorf("%d: %d bytes are held", tt.status, len(inner.Error()))
		}
	}
}
