package notify

import (
	"errors"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// refusal is a time in which an nsqd refuses publishes. It closes the connection with each of them,
// which is no outage: the next dial works. The time ends when none was refused for a minute.
type refusal struct {
	episode
	away      bool   // the connection is not back yet
	confirmed uint64 // messages that nsqd had confirmed at the last one
}

const seeDisk = "the disk of nsqd, its --data-path, and its log"

// codeAdvices say what to look at if nsqd refuses a publish, by its code.
var codeAdvices = map[string]string{
	"E_PUB_FAILED": seeDisk, "E_MPUB_FAILED": seeDisk, "E_DPUB_FAILED": seeDisk,
	"E_UNAUTHORIZED": "AuthSecret of conn.Config, and what it permits",
	"E_BAD_MESSAGE":  "--max-msg-size of nsqd", "E_BAD_BODY": "--max-body-size of nsqd",
	"E_BAD_TOPIC": "the name of the topic", "E_INVALID": "the delay of the message; --max-req-timeout of nsqd",
}

// refused returns what to look at if nsqd has closed a connection because it refused a publish.
func refused(err error) (see string, ok bool) {
	e, ok := errors.AsType[*conn.Error](err)
	if !ok || e.Phase != conn.PhaseStream || errors.Is(err, conn.ErrTLSRequired) {
		return "", false
	}
	answer, ok := errors.AsType[*conn.ServerError](err)
	if !ok {
		return "", false
	}
	see, ok = codeAdvices[answer.Code]
	return see, ok
}

// refusal tells of a connection that nsqd has closed because it refused a publish. It returns false if
// the connection was lost in another way.
func (j *journal) refusal(ev *Event) bool {
	see, ok := refused(ev.Err)
	if !ok {
		return false
	}
	r, level, text := j.refusals[ev.NSQD], slog.LevelWarn, "nsqd refuses a publish, and closes the connection"
	switch {
	case r == nil && len(j.refusals) >= maxOutages:
		return false
	case r == nil:
		r = &refusal{episode: episode{began: ev.Time, told: ev.Time}}
		j.refusals[ev.NSQD] = r
	case ev.Time.Sub(r.told) >= repeat:
		r.told, text = ev.Time, "nsqd still refuses publishes"
	default:
		level = slog.LevelDebug
	}
	r.last, r.away, r.confirmed = ev.Time, true, j.confirmedBy(ev.NSQD)
	r.messages++
	attrs := []slog.Attr{slog.String("nsqd", ev.NSQD), slog.Any("error", ev.Err), slog.String("see", see)}
	if r.messages > 1 {
		attrs = append(attrs, slog.Time("since", r.began), slog.Int("refused", r.messages))
	}
	if level == slog.LevelDebug {
		j.write(level, text, attrs...)
	} else {
		j.say(ev.Time, level, text, attrs...)
	}
	return true
}

// backFromRefusal reports whether a connection is the next one after a refusal.
func (j *journal) backFromRefusal(addr string) bool {
	r := j.refusals[addr]
	if r == nil || !r.away {
		return false
	}
	r.away = false
	return true
}

// endRefusals tells of those that are over.
func (j *journal) endRefusals(now time.Time, ends bool) {
	for addr, r := range j.refusals {
		if !ends && now.Sub(r.last) < repeat {
			continue
		}
		delete(j.refusals, addr)
		confirmed := j.confirmedBy(addr) // 0 if its address was removed
		accepted := confirmed - min(r.confirmed, confirmed)
		text := "nsqd has refused no publish for a minute: it has accepted others"
		switch {
		case now.Sub(r.last) < repeat:
			text = "nsqd refused publishes until the end"
		case accepted == 0:
			text = "nsqd has refused no publish for a minute: it was sent none, so this may not be over"
		}
		j.say(now, slog.LevelInfo, text, slog.String("nsqd", addr),
			Seconds("duration_seconds", r.last.Sub(r.began)), slog.Int("refused", r.messages), slog.Uint64("accepted", accepted))
	}
}

func (j *journal) confirmedBy(addr string) uint64 {
	if j.confirmed == nil {
		return 0
	}
	return j.confirmed(addr)
}
