package gonsq

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// logger is what SetLogger takes, such as a *log.Logger.
type logger interface {
	Output(calldepth int, s string) error
}

// journal writes nsqx's records to go-nsq's loggers. Its methods are safe for concurrent use.
type journal struct {
	prefix string

	mu      sync.RWMutex
	loggers [LogLevelMax + 1]logger // nil: nothing is written
	level   LogLevel
}

func newJournal(prefix string) *journal {
	j := &journal{prefix: prefix}
	j.SetLogger(log.New(os.Stderr, "", log.Flags()), LogLevelInfo)
	return j
}

// SetLogger sets the logger of all levels, and the lowest level that is written. nil writes nothing.
func (j *journal) SetLogger(l logger, lvl LogLevel) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.loggers {
		j.loggers[i] = l
	}
	j.level = lvl
}

// SetLoggerForLevel sets the logger of one level. There are no others than LogLevelDebug to
// LogLevelMax.
func (j *journal) SetLoggerForLevel(l logger, lvl LogLevel) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if lvl >= 0 && int(lvl) < len(j.loggers) {
		j.loggers[lvl] = l
	}
}

// SetLoggerLevel sets the lowest level that is written.
func (j *journal) SetLoggerLevel(lvl LogLevel) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.level = lvl
}

// at returns the logger of a level; nil if nothing is to be written.
func (j *journal) at(lvl LogLevel) logger {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if lvl < j.level {
		return nil
	}
	return j.loggers[lvl]
}

func (j *journal) slog() *slog.Logger { return slog.New(logHandler{j, ""}) }

// logHandler is a journal as a handler of log/slog.
type logHandler struct {
	*journal
	attrs string // formatted
}

// Enabled implements slog.Handler.
func (h logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.at(levelOf(level)) != nil
}

// Handle implements slog.Handler. A logger that panics, such as a nil *log.Logger, writes nothing.
func (h logHandler) Handle(_ context.Context, r slog.Record) (err error) {
	lvl := levelOf(r.Level)
	l := h.at(lvl)
	if l == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("gonsq: the logger panicked: %v", v)
		}
	}()
	var b strings.Builder
	fmt.Fprintf(&b, "%-4s %s %s%s", lvl, h.prefix, r.Message, h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, a)
		return true
	})
	return l.Output(2, b.String())
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		writeAttr(&b, a)
	}
	h.attrs = b.String()
	return h
}

// WithGroup implements slog.Handler. nsqx has no groups.
func (h logHandler) WithGroup(string) slog.Handler { return h }

// writeAttr writes an attribute, except topic and channel, which the prefix has.
func writeAttr(b *strings.Builder, a slog.Attr) {
	switch v := a.Value.Resolve(); {
	case a.Key == "topic" || a.Key == "channel" || a.Equal(slog.Attr{}):
	case v.Kind() == slog.KindGroup:
		for _, inner := range v.Group() {
			inner.Key = a.Key + "." + inner.Key
			writeAttr(b, inner)
		}
	default:
		text := v.String()
		if strings.ContainsAny(text, " \"=\n") || text == "" {
			text = fmt.Sprintf("%q", text)
		}
		fmt.Fprintf(b, " %s=%s", a.Key, text)
	}
}

func levelOf(l slog.Level) LogLevel {
	switch {
	case l >= slog.LevelError:
		return LogLevelError
	case l >= slog.LevelWarn:
		return LogLevelWarning
	case l >= slog.LevelInfo:
		return LogLevelInfo
	}
	return LogLevelDebug
}
