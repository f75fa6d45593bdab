package envelope

import (
	"iter"
	"strings"
)

// Header is the headers of one body. It refers to the body, and is valid as long as the body is.
// Its methods are safe for concurrent use. The zero Header is empty.
type Header struct {
	entries []byte // well formed
}

// Get returns the value of a header. The value is a part of the body and must not be changed. Get
// ignores the case of ASCII letters in keys; of several equal keys the first counts.
func (h Header) Get(key string) (value []byte, ok bool) {
	value, at := find(h.entries, key)
	if at < 0 {
		return nil, false
	}
	return value[:len(value):len(value)], true
}

// All returns an iterator over keys, in lower case, and values, in the order of the body. Of
// several equal keys it yields the first only. The strings are copies.
func (h Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		entries := string(h.entries)
		for rest := entries; len(rest) > 0; {
			at := len(entries) - len(rest)
			var key, value string
			key, value, rest = cutEntry(rest)
			if _, first := find(entries, key); first == at && !yield(strings.ToLower(key), value) {
				return
			}
		}
	}
}
