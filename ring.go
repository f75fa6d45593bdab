package nsqx

import "github.com/nsqx/nsqx/handler"

// ring is a list of messages, oldest first, that grows as needed.
type ring struct {
	msgs  []*handler.Message // its length is a power of two
	head  int
	n     int
	bytes int // of bodies
}

func newRing() ring { return ring{msgs: make([]*handler.Message, 64)} }

// push adds the newest.
func (r *ring) push(m *handler.Message) {
	r.reserve(1)
	r.msgs[(r.head+r.n)&(len(r.msgs)-1)] = m
	r.n++
	r.bytes += len(m.Body)
}

// bound is how much may wait. A single message may, however large it is.
type bound struct{ messages, bytes int }

// add pushes messages while there is room, and returns the others.
func (r *ring) add(msgs []handler.Message, limit bound) (rest []handler.Message) {
	for i := range msgs {
		m := &msgs[i]
		if r.n >= limit.messages || r.n > 0 && r.bytes+len(m.Body) > limit.bytes {
			return msgs[i:]
		}
		r.push(m)
	}
	return nil
}

// pop takes the oldest out. There must be one.
func (r *ring) pop() *handler.Message {
	m := r.msgs[r.head]
	r.msgs[r.head] = nil
	r.head = (r.head + 1) & (len(r.msgs) - 1)
	r.n--
	r.bytes -= len(m.Body)
	return m
}

// unpop adds the oldest.
func (r *ring) unpop(m *handler.Message) {
	r.reserve(1)
	r.head = (r.head - 1) & (len(r.msgs) - 1)
	r.msgs[r.head] = m
	r.n++
	r.bytes += len(m.Body)
}

// unpush takes the newest out. There must be one.
func (r *ring) unpush() *handler.Message {
	r.n--
	i := (r.head + r.n) & (len(r.msgs) - 1)
	m := r.msgs[i]
	r.msgs[i] = nil
	r.bytes -= len(m.Body)
	return m
}

func (r *ring) oldest() *handler.Message {
	if r.n == 0 {
		return nil
	}
	return r.msgs[r.head]
}

// reserve makes room for n more.
func (r *ring) reserve(n int) {
	size := len(r.msgs)
	for r.n+n > size {
		size *= 2
	}
	if size == len(r.msgs) {
		return
	}
	msgs := make([]*handler.Message, size)
	for i := range r.n {
		msgs[i] = r.msgs[(r.head+i)&(len(r.msgs)-1)]
	}
	r.msgs, r.head = msgs, 0
}
