package envelope

import (
	"iter"
	"strings"
)

// Writer collects headers and writes envelopes. The zero value has no headers and is ready to use; nothing is allocated until
// the first Set. It is not safe for concurrent use.
type Writer struct {
	entries []entry
}

type entry struct{ key, value string }

// Set sets a header, in the place of one that has the same key. The key is written in lower case. The error is a [*HeaderError]
// that wraps [ErrKey] or [ErrValue]; the header is left out then.
func (w *Writer) Set(key, value string) error {
	if err := check(key, value); err != nil {
		return err
	}
	key = strings.ToLower(key)
	for i := range w.entries {
		if w.entries[i].key == key {
			w.entries[i].value = value
			return nil
		}
	}
	w.entries = append(w.entries, entry{key, value})
	return nil
}

// Get returns the value of a header. Keys are compared without regard to the case of ASCII letters.
func (w *Writer) Get(key string) (value string, ok bool) {
	for _, e := range w.entries {
		if strings.EqualFold(e.key, key) {
			return e.value, true
		}
	}
	return "", false
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
