package publish

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// Stamp is a [handler.SendMiddleware] that gives each message that goes out in an envelope an id and
// the time of its publish, unless it has them, and rejects one with an id, key or instant that no
// consumer would take. It takes them away again: the caller may use the Outgoing for other messages.
func (r *Router) Stamp(next handler.Send) handler.Send {
	return func(ctx context.Context, out *handler.Outgoing) error {
		if !out.Envelope {
			return next(ctx, out)
		}
		ids, err := identify(out)
		if err != nil {
			return r.Reject(len(out.Messages), out.Topic, err)
		}
		defer forget(out, ids)
		if _, ok := out.Headers.Get(envelope.Published); !ok {
			_ = out.Headers.Set(envelope.Published, envelope.FormatTime(time.Now())) // cannot fail
			defer out.Headers.Delete(envelope.Published)
		}
		return next(ctx, out)
	}
}

// identify gives ids to the messages that have none, and returns these ids, joined.
func identify(out *handler.Outgoing) (ids string, err error) {
	if err := checkHeaders(&out.Headers); err != nil {
		return "", err
	}
	_, common := out.Headers.Get(envelope.ID)
	if common && len(out.Messages) > 1 {
		return "", SameID(len(out.Messages))
	}
	missing := 0
	for i := range out.Messages {
		m := &out.Messages[i]
		if err := checkHeaders(&m.Headers); err != nil {
			return "", err
		}
		if !common && !isIdentified(m, out.Raw) {
			missing++
		}
	}
	if missing == 0 {
		return "", nil
	}
	if ids, err = newIDs(missing); err != nil {
		return "", err
	}
	rest := ids
	for i := range out.Messages {
		if m := &out.Messages[i]; !isIdentified(m, out.Raw) {
			_ = m.Headers.Set(envelope.ID, rest[:idLen]) // cannot fail
			rest = rest[idLen:]
		}
	}
	return ids, nil
}

// SameID is why n messages with one id are rejected.
func SameID(n int) error {
	return fmt.Errorf("nsqx: %d messages would have the same %s: give each its own, as WithMessageID does", n, envelope.ID)
}

// forget undoes identify.
func forget(out *handler.Outgoing, ids string) {
	for i := range out.Messages {
		if ids == "" {
			return
		}
		if id, ok := out.Messages[i].Headers.Get(envelope.ID); ok && id == ids[:idLen] {
			out.Messages[i].Headers.Delete(envelope.ID)
			ids = ids[idLen:]
		}
	}
}

// isIdentified reports whether a message has an id, also one in the envelope of a raw body.
func isIdentified(m *handler.OutgoingMessage, raw bool) bool {
	if _, ok := m.Headers.Get(envelope.ID); ok || !raw || !envelope.Is(m.Body) {
		return ok
	}
	h, _, _ := envelope.Split(m.Body)
	_, ok := h.Get(envelope.ID)
	return ok
}

// idLen is the length of an id in bytes.
const idLen = 36

// newIDs returns n ids, one after the other: UUIDs of version 7, each after the one before. They
// share memory.
func newIDs(n int) (string, error) {
	all := make([]byte, 0, n*idLen)
	for range n {
		id, err := uuid.NewV7()
		if err != nil {
			return "", fmt.Errorf("nsqx: no random id: %w", err)
		}
		for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
			if i > 0 {
				all = append(all, '-')
			}
			all = hex.AppendEncode(all, part)
		}
	}
	return string(all), nil
}

// checkHeaders returns an error for an id, key or instant that no consumer would take.
func checkHeaders(headers *envelope.Writer) error {
	for key, value := range headers.All() {
		var err error
		switch key {
		case envelope.ID, envelope.Key:
			err = envelope.CheckID(key, value)
		case envelope.NotBefore, envelope.Expires:
			_, err = envelope.ParseTime(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
