package envelope_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/check"
)

func TestLimit(t *testing.T) {
	v := func(n int) string { return strings.Repeat("v", n) }
	for name, c := range map[string]struct {
		limit   int
		headers []string
		want    string // keys
	}{
		"exactly 4096":                    {0, []string{"k", v(4096 - 4)}, "k"},
		"4097":                            {0, []string{"k", v(4097 - 4)}, ""},
		"negative is the default":         {-1, []string{"k", v(4096 - 4)}, "k"},
		"all the format has":              {1 << 20, []string{"k", v(16383 - 4)}, "k"},
		"more than the format has":        {1 << 20, []string{"k", v(16383 - 3), "l", ""}, "l"},
		"baggage first":                   {100, []string{"baggage", v(10), "tracestate", v(10), "other", v(30), "traceparent", v(20)}, "tracestate other traceparent"},
		"then tracestate":                 {100, []string{"baggage", v(10), "tracestate", v(30), "other", v(50), "traceparent", v(20)}, "other traceparent"},
		"then the largest":                {60, []string{"a", v(10), "b", v(40), "c", v(12), "traceparent", v(20)}, "a traceparent"},
		"of equal ones the last":          {60, []string{"a", v(11), "b", v(11), "c", v(11), "traceparent", v(10)}, "a b traceparent"},
		"reserved after all others":       {50, []string{"a", "", "nsqx-x", v(10), "content-type", v(30), "traceparent", v(10)}, "nsqx-x traceparent"},
		"! stays if the format has room":  {10, []string{"traceparent", v(20), "!a", v(8000), "!b", v(8000)}, "!a !b"},
		"! when the format has no room":   {10, []string{"!a", v(9000), "!b", v(8000)}, "!b"},
		"small ones stay with a large !":  {60, []string{"x", "1", "!a", v(40)}, "x !a"},
		"no room for anything but itself": {1, []string{"x", "1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := writer(t, c.headers...)
			w.Limit = c.limit
			before := list(w.All())
			body := w.AppendTo(nil, []byte("payload"))
			check.Want(t, "Size", w.Size([]byte("payload")), len(body))
			h, payload, _ := envelope.Split(body)
			var keys []string
			for key := range h.All() {
				keys = append(keys, key)
			}
			check.Want(t, "kept", strings.Join(keys, " "), c.want)
			check.Want(t, "payload", string(payload), "payload")
			check.Want(t, "plain if nothing is left", envelope.Is(body), c.want != "")
			check.Want(t, "the Writer", list(w.All()) == before, true)
		})
	}
}

func TestLimitOfEntries(t *testing.T) {
	var w envelope.Writer
	for i := range 80 {
		wantErr(t, "Set", w.Set(fmt.Sprintf("k%02d", i), "v"), nil)
	}
	wantErr(t, "Set", w.Set("baggage", ""), nil)
	h, _, err := envelope.Split(w.AppendTo(nil, nil))
	wantErr(t, "Split", err, nil)
	n, last := 0, ""
	for key := range h.All() {
		n, last = n+1, key
	}
	check.Want(t, "entries", n, 64)
	check.Want(t, "last", last, "k63")
}

// The headers of the payload count, too.
func TestLimitOfMerged(t *testing.T) {
	payload := raw("payload", "baggage", strings.Repeat("v", 4000), "x", "1")
	body := writer(t, "nsqx-dlq-error", strings.Repeat("e", 512)).AppendTo(nil, payload)
	h, rest, err := envelope.Split(body)
	wantErr(t, "Split", err, nil)
	_, kept := h.Get("baggage")
	check.Want(t, "baggage kept", kept, false)
	_, kept = h.Get("x")
	check.Want(t, "x kept", kept, true)
	check.Want(t, "payload", string(rest), "payload")
}
