package notify

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// down tells of a connection that was lost, or of an nsqd that cannot be connected to.
func (j *journal) down(ev *Event, text string) {
	attrs := []slog.Attr{slog.String("nsqd", ev.NSQD), slog.Any("error", ev.Err)}
	if ev.Retry > 0 {
		attrs = append(attrs, Seconds("retry_seconds", ev.Retry))
	}
	level := slog.LevelWarn
	if Permanent(ev.Err) {
		level = slog.LevelError
	}
	attrs = append(attrs, advice(ev.Err)...)
	if p, ok := errors.AsType[*handler.PanicError](ev.Err); ok {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	if begins := j.nsqds.fail(ev.NSQD, ev.NSQD, ev.Err, ev.Time, ev.Kind == Disconnect); begins {
		if x := j.nsqds.open[ev.NSQD]; x != nil {
			x.permanent = level == slog.LevelError
			if ev.Kind == Disconnect {
				x.attempts = 0
			}
		}
		connected := j.connectedAttr()
		if ev.Kind == Disconnect {
			text += j.stops(connected)
		}
		j.say(ev.Time, level, text, append(attrs, connected...)...)
		return
	}
	if x := j.nsqds.open[ev.NSQD]; level == slog.LevelError && !x.permanent { // not the reason it began with
		x.permanent = true
		j.say(ev.Time, level, text, append(append(attrs, slog.Time("since", x.since)), j.connectedAttr()...)...)
		return
	}
	j.write(slog.LevelDebug, text, attrs...)
	down := j.nsqds.still(ev.Time)
	if len(down) == 0 {
		return
	}
	x := down[0]
	connected := j.connectedAttr()
	if level = slog.LevelWarn; isNone(connected) || Permanent(x.err) {
		level = slog.LevelError
	}
	attrs = []slog.Attr{slog.String("nsqd", x.name), slog.Time("since", x.since), slog.Int("attempts", x.attempts), slog.Any("error", x.err)}
	attrs = append(append(attrs, advice(x.err)...), others(down)...)
	j.write(level, "nsqd is still down", append(attrs, connected...)...)
}

// stops returns what to say of the loss of the last connection, once until an nsqd is connected.
func (j *journal) stops(connected []slog.Attr) string {
	if j.stopped || !isNone(connected) {
		return ""
	}
	j.stopped = true
	if j.publishes {
		return ": no nsqd is connected, and nothing can be published"
	}
	return ": no nsqd is connected, and no message is delivered"
}

// up tells of a connection.
func (j *journal) up(ev *Event) {
	j.stopped = false
	text, attrs := "connected", []slog.Attr{slog.String("nsqd", ev.NSQD)}
	x := j.nsqds.end(ev.NSQD)
	if j.backFromRefusal(ev.NSQD) && x == nil {
		j.write(slog.LevelDebug, "connected", attrs...)
		return
	}
	if x != nil {
		text = "connected again"
		attrs = append(attrs, Seconds("down_seconds", ev.Time.Sub(x.since)), slog.Int("attempts", x.attempts+1))
	} else if since, known := j.silent[ev.NSQD]; known {
		text = "connected again"
		attrs = append(attrs, Seconds("down_seconds", ev.Time.Sub(since)))
	}
	delete(j.silent, ev.NSQD)
	j.say(ev.Time, slog.LevelInfo, text, append(attrs, j.connectedAttr()...)...)
}

// silence is how long the begin of an outage is remembered that has no further lines: longer than the
// nsqd is dialled.
const silence = 48 * time.Hour

// unnamed tells of an nsqd that is down, and that nobody names any more.
func (j *journal) unnamed(ev *Event) {
	attrs := []slog.Attr{slog.String("nsqd", ev.NSQD), slog.Any("error", ev.Err)}
	if x := j.nsqds.end(ev.NSQD); x != nil {
		maps.DeleteFunc(j.silent, func(_ string, since time.Time) bool { return ev.Time.Sub(since) > silence })
		if len(j.silent) < maxOutages {
			j.silent[ev.NSQD] = x.since
		}
		attrs = append(attrs, slog.Time("since", x.since), slog.String("see", "whether this nsqd was retired, and its --data-path is empty"))
		j.say(ev.Time, slog.LevelWarn, "nsqd is down, and nobody names it any more: messages may wait there; it is dialled until nobody has named it for a day, without further lines",
			append(attrs, j.connectedAttr()...)...)
		return
	}
	j.write(slog.LevelDebug, "cannot connect to an nsqd that nobody names any more", attrs...)
}

func (j *journal) connectedAttr() []slog.Attr {
	if j.connected == nil {
		return nil
	}
	connected, known := j.connected()
	return []slog.Attr{slog.Int("connected", connected), slog.Int("known", known)}
}

// recount returns a late line with the connections of this moment.
func (j *journal) recount(l line) line {
	l.attrs = slices.Clone(l.attrs)
	now := j.connectedAttr()
	for i, a := range l.attrs {
		for _, fresh := range now {
			if a.Key == fresh.Key {
				l.attrs[i] = fresh
			}
		}
	}
	return l
}

// isNone reports whether no nsqd is connected, by the attributes of a line.
func isNone(connected []slog.Attr) bool { return len(connected) > 0 && connected[0].Value.Int64() == 0 }

// Permanent reports whether an error of a connection will not heal by itself, so that a quick
// retry is pointless.
func Permanent(err error) bool {
	e, ok := errors.AsType[*conn.Error](err)
	return ok && e.Permanent()
}

// advices say what to look at if an error of a phase does not heal by itself.
var advices = map[conn.Phase]string{
	conn.PhaseDial:        "the address; DialContext of conn.Config",
	conn.PhaseIdentify:    "the address, which must be the TCP port of an nsqd; conn.Config",
	conn.PhaseTLS:         "TLS of conn.Config; certificates",
	conn.PhaseCompression: "Compression of conn.Config",
	conn.PhaseAuth:        "AuthSecret of conn.Config; the auth server of nsqd, which may be down",
	conn.PhaseSubscribe:   "topic and channel, and what AuthSecret of conn.Config permits",
}

// advice returns what to look at, as an attribute; nothing if the error may heal by itself.
func advice(err error) []slog.Attr {
	e, ok := errors.AsType[*conn.Error](err)
	if !ok || !e.Permanent() {
		return nil
	}
	see := advices[e.Phase]
	if answer, ok := errors.AsType[*conn.ServerError](err); ok && answer.Code == "E_AUTH_FAILED" { // at a publish
		see = advices[conn.PhaseAuth]
	}
	if see == "" {
		return nil
	}
	return []slog.Attr{slog.String("see", see)}
}
