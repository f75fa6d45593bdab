package flow

// recentFailures is how many messages a [Recent] remembers.
const recentFailures = 32

// Recent remembers the messages that failed last, so that a message that fails again and again
// counts only once. The zero value is empty.
type Recent[K comparable] struct {
	keys [recentFailures]K // the last that failed first
	n    int
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
	for i := range r.n {
		if r.keys[i] != k {
			continue
		}
		if i == 0 {
			return Same
		}
		copy(r.keys[1:], r.keys[:i])
		r.keys[0] = k
		return Repeated
	}
	r.n = min(r.n+1, len(r.keys))
	copy(r.keys[1:], r.keys[:r.n-1])
	r.keys[0] = k
	return New
}
