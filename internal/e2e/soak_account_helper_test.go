package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nsqx/nsqx"
)

// key identifies a message by its body. Message ids would not do: they collide, and a message
// published twice has two.
type key struct{ stream, seq uint32 }

func (k key) body(padding int) string {
	return fmt.Sprintf("%d-%d|%s", k.stream, k.seq, bytes.Repeat([]byte{'x'}, padding))
}

// keyOf returns the key of a body. It runs for each frame on the wire.
func keyOf[B []byte | string](body B) (k key, ok bool) {
	n := &k.stream
	for i, digits := 0, 0; i < len(body); i++ {
		switch c := body[i]; {
		case c >= '0' && c <= '9' && digits < 9:
			*n = *n*10 + uint32(c-'0')
			digits++
		case c == '-' && n == &k.stream && digits > 0:
			n, digits = &k.seq, 0
		case c == '|':
			return k, n == &k.seq && digits > 0
		default:
			return key{}, false
		}
	}
	return key{}, false
}

// entry is the state of one message. It is small because a soak has millions.
type entry struct {
	state      uint8 // acked, unknown
	dead       uint8 // confirmed dead letters
	seenDead   uint8 // deliveries as a dead letter
	successes  uint8
	fins       uint8
	deliveries uint8
}

const (
	acked   uint8 = 1 << iota // a publish was confirmed
	unknown                   // a publish was unconfirmed
)

// page is the number of entries allocated at once.
const page = 1024

// account records, by body, what a soak published and what became of it. It reports a violation
// when it happens.
type account struct {
	streams []stream
	stalls  stallMeter

	published, unconfirmed, notSent, rejected     atomic.Int64 // outcomes of publishes
	delivered, successes, failures, dead, finsOut atomic.Int64

	mu     sync.Mutex
	faults []string
	more   int // faults beyond the first 20
}

// stream has the messages of one publishing goroutine.
type stream struct {
	mu    sync.Mutex
	next  uint32
	pages []*[page]entry
}

func newAccount(streams int) *account { return &account{streams: make([]stream, streams)} }

func (a *account) fault(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.faults) >= 20 {
		a.more++
		return
	}
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

func (a *account) issue(n int) key {
	l := &a.streams[n]
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(l.next)%page == 0 {
		l.pages = append(l.pages, new([page]entry))
	}
	l.next++
	return key{uint32(n), l.next - 1}
}

func (a *account) issued() (n []uint32) {
	for i := range a.streams {
		l := &a.streams[i]
		l.mu.Lock()
		n = append(n, l.next)
		l.mu.Unlock()
	}
	return n
}

// change applies f to an entry under its lock. It returns false if there is no such message.
func (a *account) change(k key, f func(*entry)) bool {
	if int(k.stream) >= len(a.streams) {
		return false
	}
	l := &a.streams[k.stream]
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.seq >= l.next {
		return false
	}
	f(&l.pages[k.seq/page][k.seq%page])
	return true
}

func count8(n *uint8) { *n = max(*n, *n+1) } // saturates

func (a *account) result(k key, err error) {
	switch {
	case err == nil:
		a.published.Add(1)
		a.change(k, func(e *entry) { e.state |= acked })
	case errors.Is(err, nsqx.ErrUnconfirmed):
		a.unconfirmed.Add(1)
		a.change(k, func(e *entry) { e.state |= unknown })
	case errors.Is(err, nsqx.ErrNotSent):
		a.notSent.Add(1)
	case errors.Is(err, nsqx.ErrRejected):
		a.rejected.Add(1)
	default:
		a.fault("a publish has ended with %v, which is none of the three", err)
	}
}

func (a *account) begin(body string) (k key, ok bool) {
	a.delivered.Add(1)
	k, ok = keyOf(body)
	if !ok || !a.change(k, func(e *entry) { count8(&e.deliveries) }) {
		a.fault("a handler has got %.60q, which nobody has published", body)
		return k, false
	}
	return k, true
}

func (a *account) succeed(k key) {
	a.successes.Add(1)
	a.change(k, func(e *entry) { count8(&e.successes) })
}

// deadLetter records a confirmed dead letter.
func (a *account) deadLetter(body []byte) {
	a.dead.Add(1)
	if k, ok := keyOf(body); ok {
		a.change(k, func(e *entry) { count8(&e.dead) })
	}
}

// seenDead records a message on the dead-letter topic.
func (a *account) deadLetterSeen(body string) {
	k, ok := keyOf(body)
	if !ok || !a.change(k, func(e *entry) { count8(&e.seenDead) }) {
		a.fault("a dead letter is %.60q, which nobody has published", body)
	}
}

// fin records a FIN on the wire. It needs a success or a dead letter of its own. (I2)
func (a *account) fin(k key) {
	a.finsOut.Add(1)
	var e entry
	a.change(k, func(at *entry) {
		count8(&at.fins)
		e = *at
	})
	if e.fins > e.successes+e.dead {
		a.fault("FIN number %d of message %d-%d, which has succeeded %d times and been a dead letter %d times",
			e.fins, k.stream, k.seq, e.successes, e.dead)
	}
}

// open counts messages that are acked and not yet handled.
func (a *account) open() (n int) {
	a.each(func(_ key, e entry) {
		if e.state&acked != 0 && e.successes+e.dead == 0 {
			n++
		}
	})
	return n
}

func (a *account) each(f func(key, entry)) {
	for i := range a.streams {
		l := &a.streams[i]
		l.mu.Lock()
		for seq := range l.next {
			f(key{uint32(i), seq}, l.pages[seq/page][seq%page])
		}
		l.mu.Unlock()
	}
}

func (a *account) bytes() (n int) {
	for i := range a.streams {
		l := &a.streams[i]
		l.mu.Lock()
		n += len(l.pages) * page * 6
		l.mu.Unlock()
	}
	return n
}

// totals are the counters of all nsqds, over all restarts.
type totals struct {
	accepted                    int // messages taken from publishers
	requeued, timedOut, atFault int // REQs, timeouts, messages in flight when nsqd stopped
}

type balance struct{ distinct, lost, extra, bound, noDeadLetter, twice int }

// close balances the account after the soak: I1 and I4.
func (a *account) close(t totals) (b balance) {
	a.each(func(k key, e entry) {
		if e.deliveries > 0 {
			b.distinct++
		}
		switch {
		case e.state&acked != 0 && e.successes == 0 && e.dead == 0:
			b.lost++
			a.fault("message %d-%d was acked and never handled: %+v", k.stream, k.seq, e)
		case e.state == 0 && e.deliveries > 0:
			a.fault("message %d-%d was delivered, and its publish not sent or rejected: %+v", k.stream, k.seq, e)
		case e.successes == 0 && e.dead > 0 && e.seenDead == 0:
			b.noDeadLetter++
			a.fault("message %d-%d was given up, and there is no dead letter: %+v", k.stream, k.seq, e)
		}
	})
	published, unknown := int(a.published.Load()), int(a.unconfirmed.Load())
	b.twice = t.accepted - published
	if b.twice < 0 || b.twice > unknown {
		a.fault("nsqds took %d messages; %d were acked and %d unconfirmed", t.accepted, published, unknown)
	}
	b.extra, b.bound = int(a.delivered.Load())-b.distinct, t.requeued+t.timedOut+t.atFault+unknown
	if b.extra > b.bound {
		a.fault("%d extra deliveries, want %d at most: %+v, %d unconfirmed", b.extra, b.bound, t, unknown)
	}
	return b
}

func (a *account) check(tb testing.TB) {
	tb.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.faults {
		tb.Error(f)
	}
	if a.more > 0 {
		tb.Errorf("and %d more", a.more)
	}
}
