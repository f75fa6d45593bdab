package nsqx

import "github.com/nsqx/nsqx/handler"

// ring is a list of messages, oldest first, that grows as needed. It keeps them as they
// came, in spans, so that many go in and out as fast as one.
type ring struct {
	spans []span // its length is a power of two
	head  int
	used  int // how many spans there are
	n     int // messages
	bytes int // of bodies
}

// span is a row of messages, of one at least, from one source.
type span []handler.Delivery

// bytes is the size of all bodies.
func (s span) bytes() (n int) {
	for i := range s {
		n += len(s[i].Body)
	}
	return n
}

func newRing() ring { return ring{spans: make([]span, 16)} }

// at returns the i-th oldest span.
func (r *ring) at(i int) *span { return &r.spans[(r.head+i)&(len(r.spans)-1)] }

// push adds the newest.
func (r *ring) push(s span) {
	r.reserve()
	r.used++
	*r.at(r.used - 1) = s
	r.n += len(s)
	r.bytes += s.bytes()
}

// unpop adds the oldest.
func (r *ring) unpop(s span) {
	r.reserve()
	r.used++
	r.head = (r.head - 1) & (len(r.spans) - 1)
	*r.at(0) = s
	r.n += len(s)
	r.bytes += s.bytes()
}

// bound is how much may wait. A single message may, however large it is.
type bound struct{ messages, bytes int }

// add pushes messages while there is room, and returns the others.
func (r *ring) add(msgs []handler.Delivery, limit bound) (rest []handler.Delivery) {
	n, bytes := 0, 0
	for n < len(msgs) {
		size := len(msgs[n].Body)
		if r.n+n >= limit.messages || r.n+n > 0 && r.bytes+bytes+size > limit.bytes {
			rest = msgs[n:]
			break
		}
		n++
		bytes += size
	}
	if n > 0 {
		r.push(msgs[:n])
	}
	return rest
}

// pop takes out the oldest ones, n at most: those of one span. There must be one.
func (r *ring) pop(n int) span {
	s := r.at(0)
	n = min(n, len(*s))
	out := (*s)[:n:n]
	if *s = (*s)[n:]; len(*s) == 0 {
		*s = nil
		r.head = (r.head + 1) & (len(r.spans) - 1)
		r.used--
	}
	r.n -= n
	r.bytes -= out.bytes()
	return out
}

// unpush takes the newest out. There must be one.
func (r *ring) unpush() *handler.Delivery {
	s := r.at(r.used - 1)
	last := len(*s) - 1
	m := &(*s)[last]
	if *s = (*s)[:last]; last == 0 {
		*s = nil
		r.used--
	}
	r.n--
	r.bytes -= len(m.Body)
	return m
}

func (r *ring) oldest() *handler.Delivery {
	if r.n == 0 {
		return nil
	}
	return &(*r.at(0))[0]
}

// reserve makes room for one more span.
func (r *ring) reserve() {
	if r.used < len(r.spans) {
		return
	}
	spans := make([]span, 2*len(r.spans))
	for i := range r.used {
		spans[i] = *r.at(i)
	}
	r.spans, r.head = spans, 0
}
