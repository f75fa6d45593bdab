package pool

import "github.com/nsqx/nsqx/handler"

// deque holds messages, oldest first, and grows as needed. It keeps the runs in which they arrived,
// so that many messages go in and out as fast as one.
type deque struct {
	runs  []run // its length is a power of two
	head  int
	used  int // runs
	n     int // messages
	bytes int // of bodies
}

// run is one or more messages from one source.
type run []handler.Delivery

// bytes is the size of all bodies.
func (r run) bytes() (n int) {
	for i := range r {
		n += len(r[i].Body)
	}
	return n
}

// leastRuns is the length of a new deque.
const leastRuns = 16

func newDeque() deque { return deque{runs: make([]run, leastRuns)} }

// at returns the i-th oldest run.
func (d *deque) at(i int) *run { return &d.runs[(d.head+i)&(len(d.runs)-1)] }

// pushBack adds the newest messages.
func (d *deque) pushBack(r run) {
	d.reserve()
	d.used++
	*d.at(d.used - 1) = r
	d.n += len(r)
	d.bytes += r.bytes()
}

// capacity is how much may wait. A single message may, whatever its size.
type capacity struct{ messages, bytes int }

// add adds messages while there is room, and returns the others.
func (d *deque) add(msgs []handler.Delivery, limit capacity) (rest []handler.Delivery) {
	n, bytes := 0, 0
	for n < len(msgs) {
		size := len(msgs[n].Body)
		if d.n+n >= limit.messages || d.n+n > 0 && d.bytes+bytes+size > limit.bytes {
			rest = msgs[n:]
			break
		}
		n++
		bytes += size
	}
	if n > 0 {
		d.pushBack(msgs[:n])
	}
	return rest
}

// popFront removes the oldest messages: at most n, of one run. The deque must not be empty.
func (d *deque) popFront(n int) run {
	r := d.at(0)
	n = min(n, len(*r))
	out := (*r)[:n:n]
	if *r = (*r)[n:]; len(*r) == 0 {
		*r = nil
		d.head = (d.head + 1) & (len(d.runs) - 1)
		d.used--
	}
	d.n -= n
	d.bytes -= out.bytes()
	return out
}

// popBack removes the newest message. The deque must not be empty.
func (d *deque) popBack() *handler.Delivery {
	r := d.at(d.used - 1)
	last := len(*r) - 1
	m := &(*r)[last]
	if *r = (*r)[:last]; last == 0 {
		*r = nil
		d.used--
	}
	d.n--
	d.bytes -= len(m.Body)
	return m
}

// oldest returns the oldest message; nil if the deque is empty.
func (d *deque) oldest() *handler.Delivery {
	if d.n == 0 {
		return nil
	}
	return &(*d.at(0))[0]
}

// reserve makes room for one more run.
func (d *deque) reserve() {
	if d.used < len(d.runs) {
		return
	}
	runs := make([]run, 2*len(d.runs))
	for i := range d.used {
		runs[i] = *d.at(i)
	}
	d.runs, d.head = runs, 0
}
