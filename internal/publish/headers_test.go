package publish

import (
	"testing"

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
			bodies := r.encodeHeaders([][]byte{first}, out)
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
