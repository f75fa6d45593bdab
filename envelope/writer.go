package envelope

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

const (
	// DefaultLimit is how many bytes of headers a [Writer] writes by default.
	DefaultLimit = 4096
	// MaxLimit is as many as the format has room for.
	MaxLimit = 1<<14 - 1
)

// Writer collects headers and writes envelopes. The zero value has no headers and is ready to use; nothing is allocated until
// the first Set. It is not safe for concurrent use, and must not be copied while both copies are in use.
type Writer struct {
	// Limit is the most bytes of headers that are written, with their lengths: 1 to MaxLimit. Defaults to
	// DefaultLimit. See [Writer.AppendTo] for what is left out beyond it.
	Limit int

	entries []entry
}

type entry struct{ key, value string }

// size is how many bytes the entry takes in an envelope.
func (e entry) size() int { return 1 + len(e.key) + 2 + len(e.value) }

// WriterOf returns a Writer with the headers of body, and the payload that they came with, to publish a message again with the
// headers that it had and others. Keys that start with "!" are headers as any. A body without an envelope has no headers and is
// all payload.
//
// The error is that of [Split], but never [ErrUnsupported]. With it there are no headers and payload is the whole body, which
// [Writer.AppendTo] carries as it is.
func WriterOf(body []byte) (w Writer, payload []byte, err error) {
	h, payload, err := Split(body)
	if e, ok := err.(*FormatError); ok && e.Err != ErrUnsupported {
		return Writer{}, body, err
	}
	for key, value := range h.All() {
		w.entries = append(w.entries, entry{key, value}) // All has each key once
	}
	return w, payload, nil
}

// Set sets a header, in the place of one that has the same key. The key is written in lower case. The error is a [*HeaderError]
// that wraps [ErrKey] or [ErrValue]; the header is left out then.
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

// Get returns the value of a header. Keys are compared without regard to the case of ASCII letters.
func (w *Writer) Get(key string) (value string, ok bool) {
	if i := w.index(key); i >= 0 {
		return w.entries[i].value, true
	}
	return "", false
}

// Delete takes a header away, if it is there.
func (w *Writer) Delete(key string) {
	if i := w.index(key); i >= 0 {
		w.entries = slices.Delete(w.entries, i, i+1)
	}
}

func (w *Writer) index(key string) int {
	return slices.IndexFunc(w.entries, func(e entry) bool { return equal(e.key, key) })
}

// All ranges over keys and values, in the order in which they were set first.
func (w *Writer) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, e := range w.entries {
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

// Len is the number of headers.
func (w *Writer) Len() int { return len(w.entries) }

// AppendTo appends the body that carries the headers and payload, and returns the longer dst. Without headers that is payload
// alone. It never fails.
//
// A payload that has an envelope already is not put into another: its headers stay, in order and unknown ones too, unless they
// are set anew in w. If its envelope cannot be read, it is payload from its first byte on: [Split] gives it back as it was.
//
// Headers beyond Limit, or beyond 64, are left out: first baggage, then tracestate, then the largest one, and those of the keys
// that the format reserves (traceparent, content-type, nsqx-*) after all others. Keys that start with "!" are left out only if the
// format has no room for them.
func (w *Writer) AppendTo(dst, payload []byte) []byte {
	entries, payload := w.outgoing(payload)
	size := sizeOf(entries)
	dst = slices.Grow(dst, size+len(payload))
	if size > 0 {
		dst = binary.BigEndian.AppendUint32(dst, magic)
		dst = append(dst, kind|version)
		dst = appendLength(dst, size-prefix)
		for _, e := range entries {
			dst = append(dst, marked|byte(len(e.key)))
			dst = append(dst, e.key...)
			dst = appendLength(dst, len(e.value))
			dst = append(dst, e.value...)
		}
	}
	return append(dst, payload...)
}

// Size is how many bytes AppendTo would append: if that is more than nsqd takes, the payload may still go alone.
func (w *Writer) Size(payload []byte) int {
	entries, payload := w.outgoing(payload)
	return sizeOf(entries) + len(payload)
}

// outgoing returns what is written of the headers and of those that payload has, and the rest of payload.
func (w *Writer) outgoing(payload []byte) ([]entry, []byte) {
	entries := w.entries
	if len(entries) > 0 && Is(payload) {
		if merged, rest, err := WriterOf(payload); err == nil {
			for _, e := range entries {
				merged.put(e)
			}
			entries, payload = merged.entries, rest
		}
	}
	limit := w.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	return fit(entries, min(limit, MaxLimit)), payload
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
