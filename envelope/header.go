package envelope

import (
	"iter"
	"strings"
)

// Header is the headers of one body. It is lent as the body is that it was split from, and changes with it. Its methods are
// safe for concurrent use. The zero Header has none.
type Header struct {
	entries []byte // well formed
}

// Get returns the value of a header, which is a part of the body: it must not be written to. Keys are compared without regard
// to the case of ASCII letters; of several equal ones the first counts.
func (h Header) Get(key string) (value []byte, ok bool) {
	value, at := find(h.entries, key)
	if at < 0 {
		return nil, false
	}
	return value[:len(value):len(value)], true
}

// All ranges over keys, in lower case, and values, in the order in which they were written. Of several equal keys it has the
// first only. The strings are copies and may be kept.
func (h Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		entries := string(h.entries)
		for rest := entries; len(rest) > 0; {
			at := len(entries) - len(rest)
			var key, value string
			key, value, rest = next(rest)
			if _, first := find(entries, key); first == at && !yield(strings.ToLower(key), value) {
				return
			}
		}
	}
}
