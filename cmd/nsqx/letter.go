package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/itchyny/gojq"
	"github.com/nsqx/nsqx/handler"
)

// letter is a copy of a message.
type letter struct {
	nsqd     string
	id       string
	attempts uint16
	at       time.Time // when nsqd accepted it
	headers  map[string]string
	body     []byte
	tooLarge bool // the body was not read
}

func newLetter(m *handler.Message) *letter {
	l := &letter{nsqd: m.NSQD(), id: m.ID.String(), attempts: m.Attempts, at: m.Timestamp(), body: append([]byte{}, m.Body...), headers: make(map[string]string)}
	for key, value := range m.Headers() {
		if _, twice := l.headers[key]; !twice {
			l.headers[key] = value
		}
	}
	return l
}

// view is what --json prints and filters see.
func (l *letter) view() map[string]any {
	headers := make(map[string]any, len(l.headers))
	for key, value := range l.headers {
		headers[key] = value
	}
	v := map[string]any{
		"nsqd": l.nsqd, "id": l.id, "attempts": int(l.attempts), "timestamp": l.at.UTC().Format(time.RFC3339Nano),
		"age_seconds": time.Since(l.at).Seconds(), "size": len(l.body), "headers": headers, "json": nil,
	}
	if l.tooLarge {
		v["too_large"] = true
	}
	if utf8.Valid(l.body) {
		v["body"] = string(l.body)
	} else {
		v["body"] = strings.ToValidUTF8(string(l.body), "\ufffd")
		v["body_base64"] = base64.StdEncoding.EncodeToString(l.body)
	}
	if parsed, ok := l.json(); ok {
		v["json"] = parsed
	}
	return v
}

// json returns the body if that is JSON. Numbers stay as they are: as a float64 a large id would be
// another.
func (l *letter) json() (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(l.body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// decode returns the body for a terminal, as text, json or hex.
func (l *letter) decode(how string) string {
	switch how {
	case "hex":
		return hex.EncodeToString(l.body)
	case "json":
		var line bytes.Buffer
		if json.Compact(&line, l.body) == nil {
			return escapeJSON(line.String())
		}
	}
	return safe(string(l.body))
}

// filter is the flag --where.
type filter struct {
	code  *gojq.Code
	limit time.Duration // for one message
	slow  atomic.Int32  // messages that took longer
}

const (
	// filterTime is how long a filter may take for one message.
	filterTime = time.Second

	// maxSlow is how often it may take longer before it is given up, for all messages.
	maxSlow = 10
)

var errSlow = errors.New("--where: the program takes too long, and was given up")

func newFilter(program string) (*filter, error) {
	if program == "" {
		return nil, nil
	}
	query, err := gojq.Parse(program)
	if e, ok := errors.AsType[*gojq.ParseError](err); ok {
		return nil, usage("--where: at character %d of %q: %w", max(e.Offset-len(e.Token)+1, 1), program, err)
	}
	if err != nil {
		return nil, usage("--where: %w", err)
	}
	code, err := gojq.Compile(query)
	if err != nil {
		return nil, usage("--where: %q: %w", program, err)
	}
	return &filter{code: code, limit: filterTime}, nil
}

// match reports whether the first result for a message is neither false nor null. An error, such as of
// test on a header that is missing, is no match.
func (f *filter) match(ctx context.Context, l *letter) (bool, error) {
	if f == nil {
		return true, nil
	}
	if l.tooLarge {
		return false, nil
	}
	if f.slow.Load() >= maxSlow {
		return false, errSlow
	}
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	v, ok := f.code.RunWithContext(ctx, l.view()).Next()
	if !ok {
		return false, nil
	}
	if err, failed := v.(error); failed {
		if ctx.Err() == context.DeadlineExceeded {
			f.slow.Add(1)
		}
		return false, fmt.Errorf("--where: message %s: %w", l.id, err)
	}
	return v != nil && v != false, nil
}
