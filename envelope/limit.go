package envelope

import (
	"slices"
	"strings"
)

// rank orders headers by importance. Those with the highest rank are omitted first.
type rank int

const (
	required rank = iota // without it the message would be misread
	reserved
	optional
	tracestate
	baggage
)

// meaningful are the keys, beside those with a "!", that change what becomes of a message.
var meaningful = [...]string{RedriveChannel, ID, Key, NotBefore, Expires}

func (e entry) rank() rank {
	switch {
	case e.key[0] == '!', slices.Contains(meaningful[:], e.key):
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

// Required returns the key of a header without which the payload must not be sent; ok is false if
// there is none. Such are keys that start with "!", nsqx-redrive-channel, nsqx-id, nsqx-key,
// nsqx-not-before and nsqx-expires. Use it before an envelope is left out for want of room.
func (w *Writer) Required() (key string, ok bool) {
	for _, e := range w.entries {
		if e.rank() == required {
			return e.key, true
		}
	}
	return "", false
}

// Complete reports whether AppendTo writes every header that is required: it cannot write more than
// 64, nor more than MaxLimit bytes.
func (w *Writer) Complete(payload []byte) bool {
	entries, _, _ := w.outgoing(payload)
	for _, e := range w.entries {
		if e.rank() == required && !slices.Contains(entries, e) {
			return false
		}
	}
	return true
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

// sizeOf returns the bytes of an envelope with these entries.
func sizeOf(entries []entry) int {
	n := prefix
	for _, e := range entries {
		n += e.size()
	}
	return n
}
