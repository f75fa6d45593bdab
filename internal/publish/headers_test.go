package publish

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// outgoing returns a publish with common headers, and one message for each of own.
func outgoing(t *testing.T, common string, own ...string) *handler.Outgoing {
	t.Helper()
	out := message(make([]string, len(own))...)
	out.Envelope = true
	setHeaders(t, &out.Headers, common)
	for i := range own {
		out.Messages[i].Body = []byte{'m', '0' + byte(i)}
		setHeaders(t, &out.Messages[i].Headers, own[i])
	}
	return out
}

// TestMergedHeaders: the common headers and those of a message, which win; nothing is left over
// from the message before.
func TestMergedHeaders(t *testing.T) {
	for name, tt := range map[string]struct {
		common string
		own    []string
		want   []string
	}{
		"none":                    {"", []string{"", ""}, []string{"", ""}},
		"common alone":            {"a=1 b=2", []string{"", ""}, []string{"a=1 b=2", "a=1 b=2"}},
		"own alone":               {"", []string{"k=0", "", "l=2"}, []string{"k=0", "", "l=2"}},
		"both":                    {"a=1", []string{"k=0", "l=1"}, []string{"a=1 k=0", "a=1 l=1"}},
		"own wins":                {"a=1 b=2", []string{"a=own", "b=own", ""}, []string{"a=own b=2", "a=1 b=own", "a=1 b=2"}},
		"own wins twice":          {"a=1", []string{"a=x", "a=y", "k=2"}, []string{"a=x", "a=y", "a=1 k=2"}},
		"none between":            {"a=1", []string{"k=0", "", "l=2"}, []string{"a=1 k=0", "a=1", "a=1 l=2"}},
		"own key in another case": {"a=1", []string{"A=x", "k=1"}, []string{"a=x", "a=1 k=1"}},
		"several of their own":    {"a=1", []string{"k=0 l=0 m=0", "l=1"}, []string{"a=1 k=0 l=0 m=0", "a=1 l=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := outgoing(t, tt.common, tt.own...)
			var merged mergedHeaders
			for i := range out.Messages {
				check.Want(t, "headers", headersOf(merged.of(out, &out.Messages[i])), tt.want[i])
			}
			check.Want(t, "common headers", headersOf(&out.Headers), tt.common)
			for i := range tt.own {
				check.Want(t, "number of own headers", out.Messages[i].Headers.Len(), outgoing(t, "", tt.own[i]).Messages[0].Headers.Len())
			}
		})
	}
}

// TestMergedLimit: the limit of a message holds if it is set, otherwise the common one.
func TestMergedLimit(t *testing.T) {
	for _, tt := range []struct {
		common, own string
		limits      [2]int // common, own
		want        int
	}{
		{"", "", [2]int{7, 9}, 7}, // headers of its own it has none
		{"a=1", "", [2]int{7, 9}, 7},
		{"a=1", "k=0", [2]int{7, 0}, 7},
		{"a=1", "k=0", [2]int{7, 9}, 9},
		{"a=1", "k=0", [2]int{9, 7}, 7},
		{"a=1", "k=0", [2]int{0, 9}, 9},
		{"a=1", "k=0", [2]int{0, 0}, 0},
		{"a=1", "k=0", [2]int{7, -1}, 7},
		{"", "k=0", [2]int{7, 0}, 7},
		{"", "k=0", [2]int{7, 9}, 9},
		{"", "k=0", [2]int{0, 0}, 0},
	} {
		out := outgoing(t, tt.common, tt.own)
		out.Headers.Limit, out.Messages[0].Headers.Limit = tt.limits[0], tt.limits[1]
		var merged mergedHeaders
		check.Want(t, "limit", merged.of(out, &out.Messages[0]).Limit, tt.want)
	}
}

// TestEncodeHeaders: the bodies that nsqd gets, and the count of skipped envelopes.
func TestEncodeHeaders(t *testing.T) {
	withHeaders := func(headers, body string) string {
		var w envelope.Writer
		setHeaders(t, &w, headers)
		return string(w.AppendTo(nil, []byte(body)))
	}
	size := len(withHeaders("a=1 k=0", "m0"))
	for name, tt := range map[string]struct {
		common  string
		own     []string
		plain   bool // no envelope
		limit   int  // MaxMessageSize; 0: large
		want    []string
		skipped uint64
	}{
		"no headers":     {"", []string{"", ""}, false, 0, []string{"m0", "m1"}, 0},
		"no envelope":    {"a=1", []string{"k=0", ""}, true, 0, []string{"m0", "m1"}, 0},
		"headers":        {"a=1", []string{"k=0", ""}, false, 0, []string{withHeaders("a=1 k=0", "m0"), withHeaders("a=1", "m1")}, 0},
		"just fits":      {"a=1", []string{"k=0"}, false, size, []string{withHeaders("a=1 k=0", "m0")}, 0},
		"one too large":  {"a=1", []string{"k=0", ""}, false, size - 1, []string{"m0", withHeaders("a=1", "m1")}, 1},
		"all too large":  {"a=1", []string{"k=0", "", ""}, false, 2, []string{"m0", "m1", "m2"}, 3},
		"no message":     {"a=1", nil, false, 0, nil, 0},
		"plain if large": {"a=1", []string{""}, true, 1, []string{"m0"}, 0}, // Validate rejects it
	} {
		t.Run(name, func(t *testing.T) {
			r := &Router{}
			if r.limits.MaxMessageSize = tt.limit; tt.limit == 0 {
				r.limits.MaxMessageSize = 1 << 20
			}
			out := outgoing(t, tt.common, tt.own...)
			out.Envelope = !tt.plain
			first := []byte("kept")
			bodies, err := r.encodeHeaders([][]byte{first}, out)
			check.WantErr(t, "error", err, nil)
			check.Want(t, "bodies", len(bodies), 1+len(tt.want))
			check.Want(t, "dst", string(bodies[0]), "kept")
			for i, want := range tt.want {
				check.Want(t, "body", string(bodies[1+i]), want)
				check.Want(t, "body of the message", string(out.Messages[i].Body), string([]byte{'m', '0' + byte(i)}))
			}
			check.Want(t, "skipped", r.Skipped(), tt.skipped)
		})
	}
}

// TestEncodePayloadLikeAnEnvelope: a payload that begins like an envelope goes in one, unless it is
// raw.
func TestEncodePayloadLikeAnEnvelope(t *testing.T) {
	var w envelope.Writer
	setHeaders(t, &w, "inner=1")
	inner := string(w.AppendTo(nil, []byte("x")))
	malformed := inner[:8]
	const bare = 7 // bytes of an envelope without headers
	for name, tt := range map[string]struct {
		payload, headers string
		raw, plain       bool
		limit            int // MaxMessageSize; 0: large
		want             string
		skipped          uint64
		fails            bool
	}{
		"with headers":         {payload: inner, headers: "a=1", want: "a=1"},
		"without":              {payload: inner},
		"headers are not sent": {payload: inner, headers: "a=1", plain: true},
		"malformed":            {payload: malformed, headers: "a=1", want: "a=1"},
		"no room for headers":  {payload: inner, headers: "a=1", limit: len(inner) + bare, skipped: 1},
		"no room at all":       {payload: inner, headers: "a=1", limit: len(inner) + bare - 1, skipped: 1, fails: true},
		"raw":                  {payload: inner, raw: true},
		"raw, with headers":    {payload: inner, headers: "a=1", raw: true, want: "inner=1 a=1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Router{}
			if r.limits.MaxMessageSize = tt.limit; tt.limit == 0 {
				r.limits.MaxMessageSize = 1 << 20
			}
			out := outgoing(t, tt.headers, "")
			out.Messages[0].Body, out.Raw, out.Envelope = []byte(tt.payload), tt.raw, !tt.plain
			bodies, err := r.encodeHeaders(nil, out)
			check.Want(t, "failed", err != nil, tt.fails)
			check.Want(t, "skipped", r.Skipped(), tt.skipped)
			if tt.fails {
				return
			}
			headers, payload, err := envelope.WriterOf(bodies[0])
			check.WantErr(t, "body", err, nil)
			if tt.raw {
				tt.want, tt.payload = strings.TrimSuffix("inner=1 "+tt.headers, " "), "x"
			}
			check.Want(t, "headers", headersOf(&headers), tt.want)
			check.Want(t, "payload", string(payload), tt.payload)
			check.Want(t, "headers of the caller", headersOf(&out.Headers), tt.headers)
			check.Want(t, "verbatim", out.Headers.Verbatim, false)
			check.Want(t, "limit", out.Headers.Limit, 0)
		})
	}
}

// TestEncodeRequiredHeaders: a header that is required is never left out.
func TestEncodeRequiredHeaders(t *testing.T) {
	var required []string
	for i := range 65 {
		required = append(required, fmt.Sprintf("!%d=1", i))
	}
	const redrive = "nsqx-redrive-channel=orders/billing"
	size := 7 + 1 + len("nsqx-redrive-channel") + 2 + len("orders/billing") + len("m0")
	for name, tt := range map[string]struct {
		headers string
		plain   bool
		limit   int // MaxMessageSize; 0: large
		want    string
		fails   string // in the error
	}{
		"fits":                {headers: "a=1 " + redrive, want: "a=1 " + redrive},
		"instead of others":   {headers: "a=1 " + redrive, limit: size, want: redrive},
		"has no room":         {headers: redrive, limit: size - 1, fails: "MaxMessageSize"},
		"!":                   {headers: "!zip=1", limit: 8, fails: "MaxMessageSize"},
		"no envelope":         {headers: redrive, plain: true, fails: "WithEnvelope"},
		"no envelope, !":      {headers: "!zip=1", plain: true, fails: "WithEnvelope"},
		"too many":            {headers: strings.Join(required, " "), fails: "no room for all"},
		"as many as there is": {headers: "a=1 " + strings.Join(required[1:], " "), want: strings.Join(required[1:], " ")},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Router{}
			if r.limits.MaxMessageSize = tt.limit; tt.limit == 0 {
				r.limits.MaxMessageSize = 1 << 20
			}
			out := outgoing(t, tt.headers, "")
			out.Envelope = !tt.plain
			bodies, err := r.encodeHeaders(nil, out)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error is %v, want %q", err, tt.fails)
				}
				err = r.Transmit(t.Context(), out)
				check.WantErr(t, "Transmit", err, conn.ErrRejected)
				check.Want(t, "rejected", r.rejected.Load(), 1)
				return
			}
			check.WantErr(t, "error", err, nil)
			headers, payload, _ := envelope.WriterOf(bodies[0])
			check.Want(t, "headers", headersOf(&headers), tt.want)
			check.Want(t, "payload", string(payload), "m0")
		})
	}
}
