package notify

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
)

const (
	// repeatFailures is how often a kind of failures is told of in its first minute. Later on it is
	// once a minute.
	repeatFailures = 10 * time.Second

	// maxKinds bounds the kinds of failures. The rest are one kind.
	maxKinds = 32

	// repeatStack is how often the stack of a panic is written at most.
	repeatStack = time.Hour
)

// FailureKind says which failures are alike.
type FailureKind struct {
	Text        string // of the line
	Error       string // the type of the error, or where the panic was
	Disposition handler.Disposition
}

// failures counts failures by kind. Handlers count with atomic operations; only the first failure of
// a kind, and the first after each line, costs more.
type failures struct {
	kinds sync.Map // FailureKind to *failureKind
	n     atomic.Int32
	rest  failureKind
}

// failureKind counts the failures of a kind.
type failureKind struct {
	open   atomic.Bool          // a line was posted, and no period without a failure has followed
	held   atomic.Uint64        // failures that no line was written for
	sample atomic.Pointer[line] // the first of these

	// Of the goroutine of events.
	began, told time.Time // first and last line
	stackAt     time.Time // of the last line with a stack
	last        line
}

// more is the number of failures that a line stands for beside its own.
const more = "more_failures"

// failure is a failure for which a line is to be written at once.
type failure struct {
	kind  *failureKind
	line  line
	stack []byte // nil unless it is a panic
}

func (f *failures) of(key FailureKind) *failureKind {
	if k, ok := f.kinds.Load(key); ok {
		return k.(*failureKind)
	}
	if f.n.Add(1) > maxKinds {
		f.n.Add(-1)
		return &f.rest
	}
	k, known := f.kinds.LoadOrStore(key, new(failureKind))
	if known {
		f.n.Add(-1)
	}
	return k.(*failureKind)
}

// Fail tells of a failed delivery: at once if it is the first of its kind, else by a number with the
// next line of the kind. attrs is called if the log needs them, in the caller's goroutine; the
// attributes must not refer to memory that is used again.
func (q *Queue) Fail(ctx context.Context, key FailureKind, level slog.Level, stack []byte, attrs func() []slog.Attr) {
	newLine := func() line { return line{ctx, time.Now(), level, key.Text, attrs()} }
	k := q.failures.of(key)
	if !k.open.CompareAndSwap(false, true) {
		if k.sample.Load() == nil {
			l := newLine()
			k.sample.CompareAndSwap(nil, &l)
		}
		k.held.Add(1)
		if !k.open.CompareAndSwap(false, true) {
			return // counted by the next line of the kind
		}
		k.held.Add(^uint64(0)) // the kind was forgotten meanwhile: this is the first of it again
	}
	if !q.post(&Event{Kind: failed, failure: &failure{k, newLine(), stack}}) {
		k.open.Store(false)
	}
}

// FailNow tells of a failed delivery in the caller's goroutine.
func (q *Queue) FailNow(ctx context.Context, text string, level slog.Level, stack []byte, attrs []slog.Attr) {
	f := &failure{line: line{ctx: ctx, level: level, text: text, attrs: attrs}, stack: stack}
	q.journal.writeLine(f.withStack())
}

// withStack returns the line with the stack, if there is one.
func (f *failure) withStack() line {
	if f.stack == nil {
		return f.line
	}
	return f.line.with(slog.String("stack", string(f.stack)))
}

// begin writes the first line of a kind.
func (j *journal) begin(ev *Event) {
	k, now, l := ev.failure.kind, ev.Time, ev.failure.line
	if now.Sub(k.told) >= repeat {
		k.began = now
	}
	k.told, k.last = now, l
	if k.stackAt.IsZero() || now.Sub(k.stackAt) >= repeatStack {
		k.stackAt, l = now, ev.failure.withStack()
	}
	j.failing = append(j.failing, k)
	n, first := int(k.held.Swap(0)), k.sample.Swap(nil) // of an event that was dropped
	if n > 0 && first != nil {
		l = l.late(more, n, now.Sub(first.at))
	}
	j.writeLine(l)
}

// due is when the next line is to be written.
func (k *failureKind) due() time.Time {
	if k.told.Sub(k.began) >= repeat {
		return k.told.Add(repeat)
	}
	return k.told.Add(repeatFailures)
}

// tickFailures writes a line for each kind that had failures since its last one, and forgets the
// others.
func (j *journal) tickFailures(now time.Time, ends bool) {
	for _, k := range slices.Clone(j.failing) {
		if !ends && now.Before(k.due()) {
			continue
		}
		n := int(k.held.Swap(0))
		if l := k.sample.Swap(nil); l != nil {
			k.last = *l
		}
		if n > 0 {
			k.told = now
			j.writeLine(k.last.late(more, n-1, now.Sub(k.last.at)))
			continue
		}
		k.last = line{}
		if k.open.Store(false); k.held.Load() > 0 && k.open.CompareAndSwap(false, true) { // one has just failed
			k.told = now
			continue
		}
		j.failing = slices.DeleteFunc(j.failing, func(x *failureKind) bool { return x == k })
	}
}
