package envelope

import (
	"slices"
	"strings"
)

// rank orders headers by importance. Those with the highest rank are omitted first.
type rank int

const (
	required rank = iota // without it the payload would be misread
	reserved
	optional
	tracestate
	baggage
)

func (e entry) rank() rank {
	switch {
	case e.key[0] == '!':
		return required
	case e.key == "traceparent", e.key == "content-type", strings.HasPrefix(e.key, "nsqx-"):
		return reserved
	case e.key == "tracestate":
		return tracestate
	case e.key == "baggage":
		return baggage
	}
	return optional
}

// fit returns the entries that fit into limit, in order. It does not change entries.
func fit(entries []entry, limit int) []entry {
	if fits(entries, limit) {
		return entries
	}
	entries = slices.Clone(entries)
	for !fits(entries, limit) {
		i := leastImportant(entries)
		if entries[i].rank() == required && fits(entries, MaxLimit) {
			break
		}
		entries = slices.Delete(entries, i, i+1)
	}
	return entries
}

func fits(entries []entry, limit int) bool {
	return len(entries) <= maxEntries && sizeOf(entries)-prefix <= limit
}

// leastImportant returns the index of the entry to omit: of the highest rank, the largest, the
// last.
func leastImportant(entries []entry) (least int) {
	for i, e := range entries {
		l := entries[least]
		if e.rank() > l.rank() || e.rank() == l.rank() && e.size() >= l.size() {
			least = i
		}
	}
	return least
}

// sizeOf returns the bytes of an envelope with these entries. Without entries there is no envelope.
func sizeOf(entries []entry) int {
	if len(entries) == 0 {
		return 0
	}
	n := prefix
	for _, e := range entries {
		n += e.size()
	}
	return n
}
