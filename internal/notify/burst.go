package notify

import (
	"context"
	"log/slog"
	"time"
)

const (
	// repeat is how often the log repeats itself at most.
	repeat = time.Minute

	// few is how many lines with the same text a period of repeat begins with; the others become one
	// line. It comes after gather, so that 50 nsqds that go down are soon told of.
	few    = 3
	gather = 5 * time.Second
)

// line is one record.
type line struct {
	ctx   context.Context
	at    time.Time // of a failure
	level slog.Level
	text  string
	attrs []slog.Attr
}

// with returns the line with more attributes.
func (l line) with(attrs ...slog.Attr) line {
	l.attrs = append(l.attrs[:len(l.attrs):len(l.attrs)], attrs...)
	return l
}

// late returns a line that is written so long after the first event that it stands for, with the number
// of its other events.
func (l line) late(key string, others int, over time.Duration) line {
	if others > 0 {
		l = l.with(slog.Int(key, others))
	}
	return l.with(Seconds("over_seconds", over))
}

// burst bounds lines with the same text: few at once, then one in each period with the number of
// those that it stands for.
type burst struct {
	began time.Time // of the period
	lines int       // written in it, the line for others aside
	told  bool      // the line for others was written
	held  int       // not written
	since time.Time // of the first of these
	last  line      // of these
}

// allow reports whether a line may be written now. Otherwise it is held.
func (b *burst) allow(now time.Time, l line) bool {
	if b.held == 0 && now.Sub(b.began) >= repeat {
		b.began, b.lines, b.told = now, 0, false
	}
	if b.lines < few {
		b.lines++
		return true
	}
	if b.held++; b.held == 1 {
		b.since = now
		if !b.told && now.Sub(b.began) < repeat-gather {
			b.began = now.Add(gather - repeat) // due after gather
		}
	}
	b.last = l
	return false
}

// due returns when the line for others is to be written; ok is false if none is.
func (b *burst) due() (at time.Time, ok bool) { return b.began.Add(repeat), b.held > 0 }

// take returns the line for others. Further ones are held for another period.
func (b *burst) take(now time.Time) line {
	l := b.last.late("others", b.held-1, now.Sub(b.since))
	b.began, b.told, b.held, b.last = now, true, 0, line{}
	return l
}
