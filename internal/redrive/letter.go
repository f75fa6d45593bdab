// Package redrive is what a redrive of dead letters needs to know: what a dead letter was before,
// and which channels a topic has.
package redrive

import (
	"errors"
	"slices"
	"strconv"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// ErrUnreadable is why a message cannot name a channel.
var ErrUnreadable = errors.New("nsqx: the body begins like an envelope that cannot be read, so it can carry no header, and no channel: see WithRedriveAllChannels")

// Letter is a dead letter taken apart. It is valid as long as the message is.
type Letter struct {
	Topic, Channel string // that gave the message up; of the first redrive if it is no dead letter

	headers envelope.Writer
	payload []byte
	wrapped bool // the payload begins like an envelope, and came in one
	known   bool // it is a dead letter, or was redriven before
}

// Open takes a message apart.
func Open(m *handler.Message) *Letter {
	l := new(Letter)
	l.headers, l.payload, _ = envelope.WriterOf(m.RawBody()) // an unreadable envelope is payload
	l.Topic, l.known = l.headers.Get(envelope.DeadTopic)
	l.Channel, _ = l.headers.Get(envelope.DeadChannel)
	if !l.known {
		l.Topic, l.known = l.headers.Get(envelope.OriginTopic)
		l.Channel, _ = l.headers.Get(envelope.OriginChannel)
	}
	_, l.wrapped = l.headers.Get(envelope.DeadWrapped)
	return l
}

// Body returns the message as it was before it became a dead letter, for one channel of a topic, or
// for all if channel is "". It names the origin, unless bare is true and the message came without
// headers, or there is no room for that within limit bytes. Body is called once.
func (l *Letter) Body(topic, channel string, bare bool, limit int) ([]byte, error) {
	w := &l.headers
	origin := l.origin()
	l.undescribe()
	w.Delete(envelope.RedriveChannel)
	w.Delete(envelope.Expires)
	w.Limit, w.Verbatim = envelope.MaxLimit, true
	if unreadable := !l.wrapped && w.Len() == 0 && envelope.Is(l.payload); unreadable {
		if channel != "" {
			return nil, ErrUnreadable
		}
		return l.payload, nil
	}
	if channel != "" {
		_ = w.Set(envelope.RedriveChannel, topic+"/"+channel) // cannot fail: both are names
	}
	if l.known && (w.Len() > 0 || !bare) {
		before := w.Size(l.payload)
		for _, h := range origin {
			_ = w.Set(h[0], h[1]) // cannot fail: it was a header before, or is a number
		}
		if w.Size(l.payload) > max(limit, before) {
			for _, h := range origin {
				w.Delete(h[0])
			}
		}
	}
	if w.Len() == 0 && !l.wrapped && len(l.payload) > 0 {
		return l.payload, nil
	}
	return w.AppendTo(nil, l.payload), nil
}

// origin returns the headers that name the first topic that gave the message up.
func (l *Letter) origin() (headers [][2]string) {
	if _, kept := l.headers.Get(envelope.OriginTopic); !kept {
		for _, h := range [][2]string{
			{envelope.OriginTopic, envelope.DeadTopic}, {envelope.OriginChannel, envelope.DeadChannel}, {envelope.OriginTime, envelope.DeadTime},
		} {
			if value, ok := l.headers.Get(h[1]); ok {
				headers = append(headers, [2]string{h[0], value})
			}
		}
	}
	text, _ := l.headers.Get(envelope.Redrives)
	n, _ := strconv.ParseUint(text, 10, 32) // headers are input
	return append(headers, [2]string{envelope.Redrives, strconv.FormatUint(n+1, 10)})
}

// undescribe removes the headers of the dead letter: those that a consumer sets, and the trace
// headers after them, which are those of the dead letter.
func (l *Letter) undescribe() {
	trace, traced := l.headers.Get(envelope.OriginTrace)
	dead, described := envelope.DeadKeys(), false
	var off []string
	for key := range l.headers.All() {
		described = described || key == envelope.DeadTopic
		ofTrace := key == "traceparent" || key == "tracestate" || key == "baggage"
		if slices.Contains(dead, key) || described && ofTrace {
			off = append(off, key)
		}
	}
	for _, key := range off {
		l.headers.Delete(key)
	}
	if traced {
		_ = l.headers.Set("traceparent", trace) // cannot fail: it was a header before
	}
}
