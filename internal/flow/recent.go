package flow

import "slices"

// recentFailures is how many messages a [Recent] remembers.
const recentFailures = 32

// Recent remembers the messages that failed last, so that a message that fails again and again
// counts only once. The zero value is empty.
type Recent[K comparable] struct {
	keys []K // the last that failed first; nil until one does
}

// Seen is what a [Recent] knows of a message.
type Seen uint8

const (
	New      Seen = iota
	Repeated      // it is among the messages that failed last
	Same          // it is the one that failed last
)

// Add takes a failure of k and returns what was known of k before.
func (r *Recent[K]) Add(k K) Seen {
	i := slices.Index(r.keys, k)
	if i == 0 {
		return Same
	}
	seen := Repeated
	if i < 0 {
		seen, i = New, len(r.keys)
		if i == recentFailures {
			i--
		} else {
			r.keys = append(r.keys, k)
		}
	}
	copy(r.keys[1:], r.keys[:i])
	r.keys[0] = k
	return seen
}
