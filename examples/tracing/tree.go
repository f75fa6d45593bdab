package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tree is a span processor that keeps the spans of one trace for printing. The zero value follows
// no trace.
type tree struct {
	mu    sync.Mutex
	id    trace.TraceID
	spans []sdktrace.ReadOnlySpan // ended spans
	open  int                     // number of spans that have not ended
	quiet chan struct{}           // closed when open is 0 again
}

// follow starts keeping the spans of a trace. The root span must be open.
func (t *tree) follow(root trace.SpanContext) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.id, t.spans, t.open, t.quiet = root.TraceID(), nil, 1, make(chan struct{})
}

// OnStart counts a span.
func (t *tree) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.SpanContext().TraceID() != t.id {
		return
	}
	if t.open == 0 {
		t.quiet = make(chan struct{})
	}
	t.open++
}

// OnEnd keeps a span.
func (t *tree) OnEnd(s sdktrace.ReadOnlySpan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.SpanContext().TraceID() != t.id {
		return
	}
	t.spans = append(t.spans, s)
	t.open--
	if t.open == 0 {
		close(t.quiet)
	}
}

// Shutdown does nothing.
func (t *tree) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing.
func (t *tree) ForceFlush(context.Context) error { return nil }

// wait waits until all spans that have started have ended.
func (t *tree) wait(ctx context.Context) error {
	t.mu.Lock()
	quiet := t.quiet
	t.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// print writes the spans of the trace as a tree.
func (t *tree) print(out io.Writer) error {
	t.mu.Lock()
	spans := slices.Clone(t.spans)
	t.mu.Unlock()
	slices.SortStableFunc(spans, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	children := make(map[trace.SpanID][]sdktrace.ReadOnlySpan)
	for _, s := range spans {
		children[s.Parent().SpanID()] = append(children[s.Parent().SpanID()], s)
	}

	var rows [][2]string // branch and name, description
	var add func(s sdktrace.ReadOnlySpan, first, rest string)
	add = func(s sdktrace.ReadOnlySpan, first, rest string) {
		rows = append(rows, [2]string{first + s.Name(), describe(s)})
		below := children[s.SpanContext().SpanID()]
		for i, child := range below {
			if i < len(below)-1 {
				add(child, rest+"├─ ", rest+"│  ")
			} else {
				add(child, rest+"└─ ", rest+"   ")
			}
		}
	}
	for _, root := range children[trace.SpanID{}] {
		add(root, "", "")
	}
	width := func(row [2]string) int { return utf8.RuneCountInString(row[0]) }
	widest := width(slices.MaxFunc(rows, func(a, b [2]string) int { return cmp.Compare(width(a), width(b)) }))
	for _, row := range rows {
		if _, err := fmt.Fprintf(out, "  %-*s  %s\n", widest, row[0], row[1]); err != nil {
			return err
		}
	}
	return nil
}

// shownAttributes are the attributes that the tree shows, in order.
var shownAttributes = []struct {
	key  attribute.Key
	text string
}{
	{"order.id", "order %s"},
	{"messaging.destination.subscription.name", "channel %s"},
	{"messaging.nsq.message.attempts", "attempt %s"},
	{"messaging.nsq.message.disposition", "%s"},
	{"messaging.nsq.message.requeue_delay_ms", "again in %s ms"},
}

// describe returns the duration, the attributes and the error of a span.
func describe(s sdktrace.ReadOnlySpan) string {
	var facts []string
	attrs := attribute.NewSet(s.Attributes()...)
	for _, t := range shownAttributes {
		if value, ok := attrs.Value(t.key); ok {
			facts = append(facts, fmt.Sprintf(t.text, value.String()))
		}
	}
	if s.Status().Code == codes.Error {
		facts = append(facts, "✗ "+s.Status().Description)
	}
	took := s.EndTime().Sub(s.StartTime())
	return strings.TrimSpace(fmt.Sprintf("%7.2f ms  %s", float64(took)/float64(time.Millisecond), strings.Join(facts, ", ")))
}
