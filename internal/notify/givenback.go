package notify

import (
	"log/slog"
	"time"
)

// episode is a time in which messages are given back again and again. It ends when none was for a
// minute.
type episode struct {
	began, last time.Time
	told        time.Time // of the last line
	messages    int
}

// reasons is what the log says of messages that are given back, by reason: at the begin, and at the end.
var reasons = map[string]struct{ text, reason string }{
	"stall":    {"no handler is free: messages that waited are given back; see WithConcurrency", "no handler was free"},
	"overflow": {"no room: messages that nsqd has sent beyond RDY are given back; see WithMaxInFlight, WithMaxInFlightBytes", "nsqd had sent more than RDY"},
}

// gaveBack tells of messages that were given back.
func (j *journal) gaveBack(ev *Event) {
	text := reasons[ev.Reason].text
	if text == "" {
		j.write(slog.LevelDebug, "messages given back that no handler has seen", slog.String("reason", "paused, or the breaker is open"), slog.Int("messages", ev.Found))
		return
	}
	e, level := j.givenBack[ev.Reason], slog.LevelWarn
	switch {
	case e == nil:
		e = &episode{began: ev.Time, told: ev.Time}
		j.givenBack[ev.Reason] = e
	case ev.Time.Sub(e.told) >= repeat:
		e.told, text = ev.Time, "still "+text
	default:
		level = slog.LevelDebug
	}
	e.last = ev.Time
	e.messages += ev.Found
	j.write(level, text, slog.Time("since", e.began), slog.Int("messages", e.messages))
}

// endEpisodes tells of those that are over.
func (j *journal) endEpisodes(now time.Time, ends bool) {
	for reason, e := range j.givenBack {
		if !ends && now.Sub(e.last) < repeat {
			continue
		}
		delete(j.givenBack, reason)
		j.write(slog.LevelInfo, "no more messages are given back: nsqd delivers those that were, and none is lost", slog.String("reason", reasons[reason].reason),
			Seconds("duration_seconds", e.last.Sub(e.began)), slog.Int("messages", e.messages))
	}
}
