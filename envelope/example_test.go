package envelope_test

import (
	"errors"
	"fmt"

	"github.com/nsqx/nsqx/envelope"
)

// A Writer puts headers into a body, and Split reads them.
func Example() {
	var w envelope.Writer
	if err := w.Set("tenant", "acme"); err != nil {
		fmt.Println(err)
		return
	}
	body := w.AppendTo(nil, []byte(`{"id":7}`))

	for _, body := range [][]byte{body, []byte(`{"id":8}`)} { // with an envelope, and without
		headers, payload, err := envelope.Split(body)
		if err != nil {
			fmt.Println(err)
			return
		}
		tenant, ok := headers.Get("tenant")
		fmt.Printf("%s %q %v\n", payload, tenant, ok)
	}
	// Output:
	// {"id":7} "acme" true
	// {"id":8} "" false
}

// A service with another client calls Split. A consumer of nsqx calls it for its handler.
func ExampleSplit() {
	for _, body := range []string{
		"\xC1\xCE\xD3\xD1\x11\x80\x8D\x86tenant\x80\x84acme" + `{"id":7}`,
		`{"id":8}`,
	} {
		headers, payload, err := envelope.Split([]byte(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		tenant, ok := headers.Get("tenant")
		fmt.Printf("%s tenant=%q %v\n", payload, tenant, ok)
	}
	// Output:
	// {"id":7} tenant="acme" true
	// {"id":8} tenant="" false
}

// The error has a kind and an offset.
func ExampleFormatError() {
	_, _, err := envelope.Split([]byte("\xC1\xCE\xD3\xD1\x11\x80\x84\x81a\x80\x89"))
	fmt.Println(err)
	fmt.Println(errors.Is(err, envelope.ErrMalformed))
	// Output:
	// nsqx: malformed envelope, at byte 9: the value runs over the end of the header
	// true
}

func ExampleHeader_All() {
	headers, _, err := envelope.Split([]byte("\xC1\xCE\xD3\xD1\x11\x80\x92\x86Tenant\x80\x84acme\x81k\x80\x81vpayload"))
	for key, value := range headers.All() {
		fmt.Println(key, value)
	}
	fmt.Println(err)
	// Output:
	// tenant acme
	// k v
	// <nil>
}

func ExampleIs() {
	fmt.Println(envelope.Is([]byte(`{"id":7}`)))
	fmt.Println(envelope.Is([]byte("\xC1\xCE\xD3\xD1\x11\x80\x80payload")))
	// Output:
	// false
	// true
}

func ExampleWriter() {
	var w envelope.Writer
	if err := w.Set("Tenant", "acme"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Set("note", "two\nlines"))

	payload := []byte(`{"id":7}`)
	fmt.Println(w.Size(payload), "bytes")
	fmt.Printf("%q\n", w.AppendTo(nil, payload))
	// Output:
	// nsqx: header "note" cannot be carried: a value has at most 16383 bytes of UTF-8, without control characters
	// 28 bytes
	// "\xc1\xce\xd3\xd1\x11\x80\x8d\x86tenant\x80\x84acme{\"id\":7}"
}

// A message is published again with changed headers.
func ExampleWriterOf() {
	w, payload, err := envelope.WriterOf([]byte("\xC1\xCE\xD3\xD1\x11\x80\x8D\x86tenant\x80\x84acmepayload"))
	if err != nil {
		fmt.Println(err) // payload is the whole body then
	}
	w.Delete("tenant")
	if err := w.Set("origin", "orders"); err != nil {
		fmt.Println(err)
	}
	for key, value := range w.All() {
		fmt.Println(key, value)
	}
	fmt.Printf("%s\n", payload)
	// Output:
	// origin orders
	// payload
}
