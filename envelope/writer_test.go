package envelope_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/envelope"
)

func TestAppendToGolden(t *testing.T) {
	w := writer(t, "TraceParent", traceparent)
	got := w.AppendTo([]byte("before "), []byte("payload"))
	want(t, "body", string(got), "before "+string(golden("payload")))
	want(t, "Size", w.Size([]byte("payload")), 76+7)
}

func TestWriterWithoutHeaders(t *testing.T) {
	var w envelope.Writer
	for _, payload := range []string{"", "payload", string(golden("payload")), string(golden("")[:20])} {
		want(t, "body", string(w.AppendTo(nil, []byte(payload))), payload)
		want(t, "Size", w.Size([]byte(payload)), len(payload))
	}
	want(t, "Len", w.Len(), 0)
}

func TestWriterHeaders(t *testing.T) {
	w := writer(t, "b", "1", "A", "2", "c", "3")
	wantErr(t, "Set again", w.Set("B", "4"), nil)
	want(t, "All", list(w.All()), "b=4 a=2 c=3")
	want(t, "Len", w.Len(), 3)
	value, ok := w.Get("a")
	want(t, "a", value, "2")
	want(t, "found", ok, true)
	if value, ok := w.Get("d"); ok || value != "" {
		t.Errorf("Get(d): got %q", value)
	}
	w.Delete("A")
	w.Delete("nobody")
	want(t, "after Delete", list(w.All()), "b=4 c=3")
	for key := range w.All() {
		want(t, "first", key, "b")
		break
	}
}

func TestSetFaults(t *testing.T) {
	for name, c := range map[string]struct {
		key, value string
		err        error
	}{
		"no key":              {"", "1", envelope.ErrKey},
		"key too long":        {strings.Repeat("k", 128), "1", envelope.ErrKey},
		"space in the key":    {"a key", "1", envelope.ErrKey},
		"colon is fine":       {"a:key", "1", nil},
		"tilde is fine":       {"~", "1", nil},
		"DEL in the key":      {"a\x7F", "1", envelope.ErrKey},
		"UTF-8 in the key":    {"é", "1", envelope.ErrKey},
		"longest key":         {strings.Repeat("k", 127), "1", nil},
		"empty value":         {"a", "", nil},
		"UTF-8":               {"a", "Zürich", nil},
		"longest value":       {"a", strings.Repeat("v", 16383), nil},
		"value too long":      {"a", strings.Repeat("v", 16384), envelope.ErrValue},
		"line feed":           {"a", "card\nnumber", envelope.ErrValue},
		"DEL":                 {"a", "card\x7F", envelope.ErrValue},
		"half of a character": {"a", "card\xC3", envelope.ErrValue},
	} {
		t.Run(name, func(t *testing.T) {
			var w envelope.Writer
			err := w.Set(c.key, c.value)
			wantErr(t, "Set", err, c.err)
			if c.err == nil {
				want(t, "Len", w.Len(), 1)
				return
			}
			want(t, "Len", w.Len(), 0)
			var he *envelope.HeaderError
			if !errors.As(err, &he) || he.Key != c.key {
				t.Fatalf("got %v, want a HeaderError of the key", err)
			}
			if text := err.Error(); !strings.HasPrefix(text, "nsqx: header ") || strings.Contains(text, "card") {
				t.Errorf("text: %s", text)
			}
		})
	}
}

func TestAppendToMerges(t *testing.T) {
	payload := raw("payload", "Unknown", "1", "traceparent", "old", "!sealed", "k", "unknown", "2", "z", "3")
	w := writer(t, "traceparent", "new", "nsqx-dlq-topic", "orders")
	got := w.AppendTo(nil, payload)
	want(t, "body", string(got), string(raw("payload", "unknown", "1", "traceparent", "new", "!sealed", "k", "z", "3", "nsqx-dlq-topic", "orders")))
	want(t, "Size", w.Size(payload), len(got))
	want(t, "the Writer", list(w.All()), "traceparent=new nsqx-dlq-topic=orders")
}

// What cannot be read is carried as it is, so that it can be brought back.
func TestAppendToCarriesWhatItCannotRead(t *testing.T) {
	for name, payload := range map[string]string{
		"malformed": string(golden("")[:30]),
		"newer":     "\xC1\xCE\xD3\xD1\x12\x80\x80payload",
	} {
		t.Run(name, func(t *testing.T) {
			body := writer(t, "a", "1").AppendTo(nil, []byte(payload))
			headers, rest := split(t, body)
			want(t, "headers", headers, "a=1")
			want(t, "payload", rest, payload)
		})
	}
}

func TestWriterOf(t *testing.T) {
	for name, c := range map[string]struct {
		body             []byte
		headers, payload string
		err              error
	}{
		"plain":     {[]byte("payload"), "", "payload", nil},
		"headers":   {raw("payload", "b", "1", "A", "2", "a", "3"), "b=1 a=2", "payload", nil},
		"! keys":    {raw("payload", "!sealed", "k"), "!sealed=k", "payload", nil},
		"malformed": {golden("")[:30], "", string(golden("")[:30]), envelope.ErrMalformed},
		"newer":     {[]byte("\xC1\xCE\xD3\xD1\x12\x80\x80"), "", "\xC1\xCE\xD3\xD1\x12\x80\x80", envelope.ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			w, payload, err := envelope.WriterOf(c.body)
			wantErr(t, "WriterOf", err, c.err)
			want(t, "headers", list(w.All()), c.headers)
			want(t, "payload", string(payload), c.payload)
		})
	}
}

// A dead letter and its way back: the body is what it was.
func TestDeadLetterAndBack(t *testing.T) {
	for name, body := range map[string]string{
		"plain":     "payload",
		"headers":   string(raw("payload", "traceparent", traceparent, "x", "1")),
		"malformed": string(golden("")[:30]),
	} {
		t.Run(name, func(t *testing.T) {
			dead := writer(t, "nsqx-dlq-topic", "orders").AppendTo(nil, []byte(body))
			w, payload, err := envelope.WriterOf(dead)
			wantErr(t, "WriterOf", err, nil)
			want(t, "carried", w.Len() > 0, true)
			w.Delete("nsqx-dlq-topic")
			want(t, "body", string(w.AppendTo(nil, payload)), body)
		})
	}
}

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
		"! never, while there is room":    {10, []string{"traceparent", v(20), "!a", v(8000), "!b", v(8000)}, "!a !b"},
		"! when the format has no room":   {10, []string{"!a", v(9000), "!b", v(8000)}, "!b"},
		"small ones stay with a large !":  {60, []string{"x", "1", "!a", v(40)}, "x !a"},
		"no room for anything but itself": {1, []string{"x", "1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := writer(t, c.headers...)
			w.Limit = c.limit
			before := list(w.All())
			body := w.AppendTo(nil, []byte("payload"))
			want(t, "Size", w.Size([]byte("payload")), len(body))
			h, payload, _ := envelope.Split(body)
			var keys []string
			for key := range h.All() {
				keys = append(keys, key)
			}
			want(t, "kept", strings.Join(keys, " "), c.want)
			want(t, "payload", string(payload), "payload")
			want(t, "plain if nothing is left", envelope.Is(body), c.want != "")
			want(t, "the Writer", list(w.All()) == before, true)
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
	want(t, "entries", n, 64)
	want(t, "last", last, "k63")
}

// The headers of the payload count as those that are set.
func TestLimitOfMerged(t *testing.T) {
	payload := raw("payload", "baggage", strings.Repeat("v", 4000), "x", "1")
	body := writer(t, "nsqx-dlq-error", strings.Repeat("e", 512)).AppendTo(nil, payload)
	h, rest, err := envelope.Split(body)
	wantErr(t, "Split", err, nil)
	_, kept := h.Get("baggage")
	want(t, "baggage kept", kept, false)
	_, kept = h.Get("x")
	want(t, "x kept", kept, true)
	want(t, "payload", string(rest), "payload")
}
