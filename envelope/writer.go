package envelope

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

const (
	// DefaultLimit is the default of [Writer].Limit, in bytes.
	DefaultLimit = 4096
	// MaxLimit is the most bytes of headers that the format allows.
	MaxLimit = 1<<14 - 1
)

// Writer collects headers and writes envelopes. The zero value has no headers and is ready to use;
// it allocates at the first Set. A Writer is not safe for concurrent use. Do not use both a Writer
// and its copy.
type Writer struct {
	// Limit is the most bytes of headers to write, including their lengths: 1 to MaxLimit. Defaults
	// to DefaultLimit. See [Writer.AppendTo] for what is omitted beyond Limit.
	Limit int

	// Verbatim makes AppendTo write any payload so that Split returns it: one that begins like an
	// envelope is not merged, but has an envelope around it, without headers if there are none; so
	// has an empty one, since nsqd accepts no empty body. Defaults to false.
	Verbatim bool

	entries []entry
}

type entry struct{ key, value string }

// size returns the bytes of the entry in an envelope.
func (e entry) size() int { return 1 + len(e.key) + 2 + len(e.value) }

// WriterOf returns a Writer with the headers of body, and the payload of body. Use it to publish a
// message again with changed headers. Keys that start with "!" are not treated specially. A body
// without an envelope has no headers and is all payload.
//
// The error is that of [Split], but never [ErrUnsupported]. With an error there are no headers, and
// payload is the whole body, which [Writer.AppendTo] writes unchanged.
func WriterOf(body []byte) (w Writer, payload []byte, err error) {
	h, payload, err := Split(body)
	if e, ok := err.(*FormatError); ok && e.Err != ErrUnsupported {
		return Writer{}, body, err
	}
	for key, value := range h.All() {
		w.entries = append(w.entries, entry{key, value}) // All yields each key once
	}
	return w, payload, nil
}

// Set sets a header, and replaces one with the same key. The key is written in lower case. The
// error is a [*HeaderError] that wraps [ErrKey] or [ErrValue]; the headers are unchanged then.
func (w *Writer) Set(key, value string) error {
	if err := check(key, value); err != nil {
		return err
	}
	w.put(entry{strings.ToLower(key), value})
	return nil
}

func (w *Writer) put(e entry) {
	if i := w.index(e.key); i >= 0 {
		w.entries[i].value = e.value
		return
	}
	w.entries = append(w.entries, e)
}

// Grow makes room for n more headers, which Set then adds without an allocation.
func (w *Writer) Grow(n int) { w.entries = slices.Grow(w.entries, n) }

// Get returns the value of a header. It ignores the case of ASCII letters in keys.
func (w *Writer) Get(key string) (value string, ok bool) {
	if i := w.index(key); i >= 0 {
		return w.entries[i].value, true
	}
	return "", false
}

// Delete removes a header, if it is set.
func (w *Writer) Delete(key string) {
	if i := w.index(key); i >= 0 {
		w.entries = slices.Delete(w.entries, i, i+1)
	}
}

func (w *Writer) index(key string) int {
	return slices.IndexFunc(w.entries, func(e entry) bool { return equal(e.key, key) })
}

// All returns an iterator over keys and values, in the order in which they were first set.
func (w *Writer) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, e := range w.entries {
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

// Len returns the number of headers.
func (w *Writer) Len() int { return len(w.entries) }

// AppendTo appends a body with the headers and payload to dst, and returns the extended slice.
// Without headers the body is the payload alone. AppendTo never fails.
//
// If payload already has an envelope, the headers are merged, unless Verbatim is set: those of
// payload stay, in order, unless w has the same key. If that envelope cannot be read, all of payload
// is payload, and [Split] returns it unchanged.
//
// Headers beyond Limit, or beyond 64, are omitted: first baggage, then tracestate, then the largest
// others, and last the reserved keys (traceparent, content-type, nsqx-*). Those that are required
// (see [Writer.Required]) are omitted only beyond MaxLimit or 64.
func (w *Writer) AppendTo(dst, payload []byte) []byte {
	entries, payload, bare := w.outgoing(payload)
	if bare {
		return append(dst, payload...)
	}
	size := sizeOf(entries)
	dst = slices.Grow(dst, size+len(payload))
	dst = binary.BigEndian.AppendUint32(dst, magic)
	dst = append(dst, kind|version)
	dst = appendLength(dst, size-prefix)
	for _, e := range entries {
		dst = append(dst, marked|byte(len(e.key)))
		dst = append(dst, e.key...)
		dst = appendLength(dst, len(e.value))
		dst = append(dst, e.value...)
	}
	return append(dst, payload...)
}

// Size returns the number of bytes that AppendTo would append. If nsqd does not accept so many, the
// payload may still fit without headers.
func (w *Writer) Size(payload []byte) int {
	entries, payload, bare := w.outgoing(payload)
	if bare {
		return len(payload)
	}
	return sizeOf(entries) + len(payload)
}

// outgoing returns the headers to write, merged with those of payload, and the rest of payload. bare
// says that it needs no envelope.
func (w *Writer) outgoing(payload []byte) (entries []entry, rest []byte, bare bool) {
	entries = w.entries
	if len(entries) > 0 && !w.Verbatim && Is(payload) {
		if merged, inner, err := WriterOf(payload); err == nil {
			for _, e := range entries {
				merged.put(e)
			}
			entries, payload = merged.entries, inner
		}
	}
	limit := w.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	entries = fit(entries, min(limit, MaxLimit))
	around := w.Verbatim && (len(payload) == 0 || Is(payload))
	return entries, payload, len(entries) == 0 && !around
}

func check(key, value string) error {
	if len(key) == 0 || len(key) > maxKey || !isKey([]byte(key)) {
		return &HeaderError{Key: key, Err: ErrKey}
	}
	if len(value) > maxValue || !isValue([]byte(value)) {
		return &HeaderError{Key: key, Err: ErrValue}
	}
	return nil
}
