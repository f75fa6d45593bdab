// Tests of split.go and format.go.

package envelope_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/check"
)

func TestSplitGolden(t *testing.T) {
	body := golden(`{"id":7}`)
	check.Want(t, "Is", envelope.Is(body), true)
	headers, payload := split(t, body)
	check.Want(t, "headers", headers, "traceparent="+traceparent)
	check.Want(t, "payload", payload, `{"id":7}`)
}

// Split copies nothing, and appending to a value does not overwrite what follows.
func TestSplitAliases(t *testing.T) {
	body := golden("payload")
	h, payload, err := envelope.Split(body)
	wantErr(t, "Split", err, nil)
	check.Want(t, "payload is part of the body", &payload[0] == &body[76], true)
	value, ok := h.Get("traceparent")
	check.Want(t, "found", ok, true)
	check.Want(t, "value is part of the body", &value[0] == &body[21], true)
	check.Want(t, "capacity of the value", cap(value), len(value))
}

func TestSplitPlainBody(t *testing.T) {
	for name, body := range map[string]string{
		"nil":                     "",
		"JSON":                    `{"id":7}`,
		"XML":                     "<order/>",
		"the magic alone":         "\xC1\xCE\xD3\xD1",
		"six bytes of an empty":   "\xC1\xCE\xD3\xD1\x11\x80",
		"other magic":             "\xC1\xCE\xD3\xD0\x11\x80\x80",
		"high nibble 0":           "\xC1\xCE\xD3\xD1\x01\x80\x80",
		"high nibble 2":           "\xC1\xCE\xD3\xD1\x21\x80\x80",
		"magic in the middle":     "x\xC1\xCE\xD3\xD1\x11\x80\x80",
		"lines":                   "\n\n\n\n\n\n\n\n",
		"MessagePack, a long map": "\xDF\x00\x00\x00\x01\xA1a\x01",
	} {
		t.Run(name, func(t *testing.T) {
			check.Want(t, "Is", envelope.Is([]byte(body)), false)
			headers, payload := split(t, []byte(body))
			check.Want(t, "headers", headers, "")
			check.Want(t, "payload", payload, body)
		})
	}
}

func TestSplitValid(t *testing.T) {
	for name, c := range map[string]struct {
		body             []byte
		headers, payload string
	}{
		"no entries":             {raw("body"), "", "body"},
		"no payload":             {raw("", "a", "1"), "a=1", ""},
		"empty value":            {raw("body", "a", "", "b", "2"), "a= b=2", "body"},
		"upper case":             {raw("body", "TraceParent", "1"), "traceparent=1", "body"},
		"the first wins":         {raw("body", "a", "1", "b", "2", "A", "3"), "a=1 b=2", "body"},
		"UTF-8":                  {raw("body", "city", "Zürich"), "city=Zürich", "body"},
		"spaces":                 {raw("body", "a", " b "), "a= b ", "body"},
		"longest key":            {raw("body", strings.Repeat("k", 127), "1"), strings.Repeat("k", 127) + "=1", "body"},
		"longest value":          {raw("body", "a", strings.Repeat("v", 16383-4)), "a=" + strings.Repeat("v", 16383-4), "body"},
		"an envelope in another": {raw(string(raw("body", "b", "2")), "a", "1"), "a=1", string(raw("body", "b", "2"))},
	} {
		t.Run(name, func(t *testing.T) {
			headers, payload := split(t, c.body)
			check.Want(t, "headers", headers, c.headers)
			check.Want(t, "payload", payload, c.payload)
		})
	}
}

func TestSplitInvalid(t *testing.T) {
	const start = "\xC1\xCE\xD3\xD1\x11"
	many := make([]string, 0, 130)
	for i := range 65 {
		many = append(many, fmt.Sprint("k", i), "")
	}
	for name, c := range map[string]struct {
		body   string
		err    error
		offset int
		detail string
	}{
		"version 0":             {"\xC1\xCE\xD3\xD1\x10\x80\x80", envelope.ErrMalformed, 4, "no version 0"},
		"version 2":             {"\xC1\xCE\xD3\xD1\x12\x80\x80", envelope.ErrVersion, 4, ""},
		"version 2, other rest": {"\xC1\xCE\xD3\xD1\x12\x00\x00", envelope.ErrVersion, 4, ""},
		"version 15":            {"\xC1\xCE\xD3\xD1\x1F\x80\x80", envelope.ErrVersion, 4, ""},
		"first byte of H":       {start + "\x00\x80", envelope.ErrMalformed, 5, "bit 7"},
		"second byte of H":      {start + "\x80\x00", envelope.ErrMalformed, 5, "bit 7"},
		"H beyond the body":     {start + "\x80\x85\x81a\x80\x80", envelope.ErrMalformed, 5, "longer than the body"},
		"largest H":             {start + "\xFF\xFF", envelope.ErrMalformed, 5, "longer than the body"},
		"K is 0":                {start + "\x80\x83\x80\x80\x80", envelope.ErrMalformed, 7, "length of a key"},
		"K without bit 7":       {start + "\x80\x84\x01a\x80\x80", envelope.ErrMalformed, 7, "length of a key"},
		"K runs over":           {start + "\x80\x84\x85a\x80\x80payload", envelope.ErrMalformed, 7, "key runs over"},
		"key alone":             {start + "\x80\x82\x81a\x80\x80", envelope.ErrMalformed, 7, "key runs over"},
		"half of V":             {start + "\x80\x83\x81a\x80\x80", envelope.ErrMalformed, 7, "key runs over"},
		"first byte of V":       {start + "\x80\x84\x81a\x00\x80", envelope.ErrMalformed, 9, "bit 7"},
		"second byte of V":      {start + "\x80\x84\x81a\x80\x00", envelope.ErrMalformed, 9, "bit 7"},
		"V runs over":           {start + "\x80\x84\x81a\x80\x81payload", envelope.ErrMalformed, 9, "value runs over"},
		"the second entry":      {start + "\x80\x88\x81a\x80\x80\x81b\x80\x81payload", envelope.ErrMalformed, 13, "value runs over"},
		"space in a key":        {string(raw("", "a b", "1")), envelope.ErrMalformed, 8, "the key"},
		"line feed in a key":    {string(raw("", "a\nb", "1")), envelope.ErrMalformed, 8, "the key"},
		"UTF-8 in a key":        {string(raw("", "Zürich", "1")), envelope.ErrMalformed, 8, "the key"},
		"DEL in a key":          {string(raw("", "a\x7F", "1")), envelope.ErrMalformed, 8, "the key"},
		"line feed in a value":  {string(raw("", "a", "x\ny")), envelope.ErrMalformed, 11, "the value"},
		"DEL in a value":        {string(raw("", "a", "\x7F")), envelope.ErrMalformed, 11, "the value"},
		"not UTF-8":             {string(raw("", "a", "\xFF")), envelope.ErrMalformed, 11, "the value"},
		"65 entries":            {string(raw("", many...)), envelope.ErrMalformed, 7 + 10*5 + 54*6, "64"},
		"a key to understand":   {string(raw("", "a", "1", "!encrypted", "secret")), envelope.ErrUnsupported, 13, "!encrypted"},
		"! alone":               {string(raw("", "!", "")), envelope.ErrUnsupported, 8, "!"},
		"malformed after !":     {string(raw("", "!", "", "a", "\n")), envelope.ErrMalformed, 15, "the value"},
	} {
		t.Run(name, func(t *testing.T) {
			check.Want(t, "Is", envelope.Is([]byte(c.body)), true)
			h, payload, err := envelope.Split([]byte(c.body))
			var fault *envelope.FormatError
			if !errors.As(err, &fault) {
				t.Fatalf("got error %v, want a FormatError", err)
			}
			wantErr(t, "kind", err, c.err)
			check.Want(t, "offset", fault.Offset, c.offset)
			if !strings.Contains(fault.Detail, c.detail) {
				t.Errorf("detail: got %q, want %q in it", fault.Detail, c.detail)
			}
			text := err.Error()
			if !strings.HasPrefix(text, fmt.Sprintf("nsqx: %v, at byte %d", c.err, c.offset)) || !strings.Contains(text, c.detail) ||
				strings.Contains(text, "secret") {
				t.Errorf("text: %s", text)
			}
			if c.err != envelope.ErrUnsupported {
				check.Want(t, "headers", list(h.All()), "")
				check.Want(t, "payload", string(payload), c.body)
			}
		})
	}
}

// A caller that understands the key gets headers and payload.
func TestSplitUnsupported(t *testing.T) {
	h, payload, err := envelope.Split(raw("ciphertext", "!encrypted", "k1", "!more", "", "tenant", "acme"))
	wantErr(t, "Split", err, envelope.ErrUnsupported)
	check.Want(t, "headers", list(h.All()), "!encrypted=k1 !more= tenant=acme")
	check.Want(t, "payload", string(payload), "ciphertext")
}
