package envelope_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/check"
)

func TestAppendToGolden(t *testing.T) {
	w := writer(t, "TraceParent", traceparent)
	got := w.AppendTo([]byte("before "), []byte("payload"))
	check.Want(t, "body", string(got), "before "+string(golden("payload")))
	check.Want(t, "Size", w.Size([]byte("payload")), 76+7)
}

func TestWriterWithoutHeaders(t *testing.T) {
	var w envelope.Writer
	for _, payload := range []string{"", "payload", string(golden("payload")), string(golden("")[:20])} {
		check.Want(t, "body", string(w.AppendTo(nil, []byte(payload))), payload)
		check.Want(t, "Size", w.Size([]byte(payload)), len(payload))
	}
	check.Want(t, "Len", w.Len(), 0)
}

func TestWriterHeaders(t *testing.T) {
	w := writer(t, "b", "1", "A", "2", "c", "3")
	wantErr(t, "Set again", w.Set("B", "4"), nil)
	check.Want(t, "All", list(w.All()), "b=4 a=2 c=3")
	check.Want(t, "Len", w.Len(), 3)
	value, ok := w.Get("a")
	check.Want(t, "a", value, "2")
	check.Want(t, "found", ok, true)
	if value, ok := w.Get("d"); ok || value != "" {
		t.Errorf("Get(d): got %q", value)
	}
	w.Delete("A")
	w.Delete("absent")
	check.Want(t, "after Delete", list(w.All()), "b=4 c=3")
	for key := range w.All() {
		check.Want(t, "first", key, "b")
		break
	}
}

func TestSetInvalid(t *testing.T) {
	for name, c := range map[string]struct {
		key, value string
		err        error
	}{
		"no key":              {"", "1", envelope.ErrKey},
		"key too long":        {strings.Repeat("k", 128), "1", envelope.ErrKey},
		"space in the key":    {"a key", "1", envelope.ErrKey},
		"colon is valid":      {"a:key", "1", nil},
		"tilde is valid":      {"~", "1", nil},
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
				check.Want(t, "Len", w.Len(), 1)
				return
			}
			check.Want(t, "Len", w.Len(), 0)
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
	payload := raw("payload", "Unknown", "1", "traceparent", "old", "!encrypted", "k", "unknown", "2", "z", "3")
	w := writer(t, "traceparent", "new", "nsqx-dlq-topic", "orders")
	got := w.AppendTo(nil, payload)
	check.Want(t, "body", string(got), string(raw("payload", "unknown", "1", "traceparent", "new", "!encrypted", "k", "z", "3", "nsqx-dlq-topic", "orders")))
	check.Want(t, "Size", w.Size(payload), len(got))
	check.Want(t, "the Writer", list(w.All()), "traceparent=new nsqx-dlq-topic=orders")
}

// A payload with an unreadable envelope is written unchanged, so Split can restore it.
func TestAppendToUnreadablePayload(t *testing.T) {
	for name, payload := range map[string]string{
		"malformed": string(golden("")[:30]),
		"newer":     "\xC1\xCE\xD3\xD1\x12\x80\x80payload",
	} {
		t.Run(name, func(t *testing.T) {
			body := writer(t, "a", "1").AppendTo(nil, []byte(payload))
			headers, rest := split(t, body)
			check.Want(t, "headers", headers, "a=1")
			check.Want(t, "payload", rest, payload)
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
		"! keys":    {raw("payload", "!encrypted", "k"), "!encrypted=k", "payload", nil},
		"malformed": {golden("")[:30], "", string(golden("")[:30]), envelope.ErrMalformed},
		"newer":     {[]byte("\xC1\xCE\xD3\xD1\x12\x80\x80"), "", "\xC1\xCE\xD3\xD1\x12\x80\x80", envelope.ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			w, payload, err := envelope.WriterOf(c.body)
			wantErr(t, "WriterOf", err, c.err)
			check.Want(t, "headers", list(w.All()), c.headers)
			check.Want(t, "payload", string(payload), c.payload)
		})
	}
}

// A dead letter that is published again has its original body.
func TestDeadLetterRoundTrip(t *testing.T) {
	for name, body := range map[string]string{
		"plain":     "payload",
		"headers":   string(raw("payload", "traceparent", traceparent, "x", "1")),
		"malformed": string(golden("")[:30]),
	} {
		t.Run(name, func(t *testing.T) {
			dead := writer(t, "nsqx-dlq-topic", "orders").AppendTo(nil, []byte(body))
			w, payload, err := envelope.WriterOf(dead)
			wantErr(t, "WriterOf", err, nil)
			check.Want(t, "carried", w.Len() > 0, true)
			w.Delete("nsqx-dlq-topic")
			check.Want(t, "body", string(w.AppendTo(nil, payload)), body)
		})
	}
}

// TestVerbatim: Split returns any payload as it was written, and no body is empty.
func TestVerbatim(t *testing.T) {
	inner := string(raw("x", "k", "1"))
	for name, c := range map[string]struct {
		headers []string
		payload string
		plain   bool // without an envelope
	}{
		"plain":                {nil, "payload", true},
		"empty":                {nil, "", false},
		"an envelope":          {nil, inner, false},
		"malformed":            {nil, string(golden("")[:30]), false},
		"headers":              {[]string{"a", "1"}, "payload", false},
		"headers, envelope":    {[]string{"a", "1", "k", "2"}, inner, false},
		"headers that are cut": {[]string{"a", strings.Repeat("x", 5000)}, inner, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := writer(t, c.headers...)
			w.Verbatim = true
			body := w.AppendTo(nil, []byte(c.payload))
			check.Want(t, "Size", w.Size([]byte(c.payload)), len(body))
			check.Want(t, "plain", !envelope.Is(body), c.plain)
			_, payload := split(t, body)
			check.Want(t, "payload", payload, c.payload)
			check.Want(t, "empty", len(body) == 0, false)
		})
	}
}

// TestRequired: which headers are never omitted for the limit, and when there is no room for them.
func TestRequired(t *testing.T) {
	for key, want := range map[string]bool{
		"!zip": true, envelope.RedriveChannel: true, "nsqx-id": true, "NSQX-Key": true, "nsqx-not-before": true, "nsqx-expires": true,
		"traceparent": false, "content-type": false, "nsqx-dlq-topic": false, "nsqx-redrives": false, "a": false,
	} {
		w := writer(t, "a", "1", key, strings.Repeat("x", 100), "b", "2")
		w.Limit = 20
		got, ok := w.Required()
		check.Want(t, key+" required", ok, want)
		if want {
			check.Want(t, "key", got, strings.ToLower(key))
		}
		written, _, _ := envelope.WriterOf(w.AppendTo(nil, []byte("payload")))
		_, kept := written.Get(key)
		check.Want(t, key+" written", kept, want)
		check.Want(t, "complete", w.Complete([]byte("payload")), true)
	}
	w := writer(t, "!a", strings.Repeat("x", 9000), "!b", strings.Repeat("x", 9000))
	check.Want(t, "complete beyond MaxLimit", w.Complete(nil), false)
}
