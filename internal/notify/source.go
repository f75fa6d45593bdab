package notify

import (
	"errors"
	"log/slog"

	"github.com/nsqx/nsqx/observe"
)

// lookup tells of a source of nsqds that fails or works again, and of a topic that has no nsqd.
func (j *journal) lookup(ev *Event) {
	source, found := slog.String("source", ev.Source), slog.Int("found", ev.Found)
	noTopic := errors.Is(ev.Err, observe.ErrNoTopic)
	j.write(slog.LevelDebug, "asked for nsqds", source, found, Seconds("duration_seconds", ev.Took), slog.Any("error", ev.Err))
	if ev.Err == nil || noTopic {
		if x := j.sources.end(ev.Index); x != nil {
			j.say(ev.Time, slog.LevelInfo, kindOfSource(ev.Lookupd)+" answers again", source, found, Seconds("down_seconds", ev.Time.Sub(x.since)), slog.Int("attempts", x.attempts+1))
		}
	} else {
		j.sourceFails(ev)
	}
	j.topic(ev)
}

// kindOfSource is what the log calls a source of nsqds.
func kindOfSource(lookupd bool) string {
	if lookupd {
		return "nsqlookupd"
	}
	return "discoverer"
}

func (j *journal) sourceFails(ev *Event) {
	text := kindOfSource(ev.Lookupd) + " cannot be asked for nsqds: those that were found before stay in use"
	if ev.Good {
		text = "some nsqds that were found cannot be used"
	}
	x := j.sources.open[ev.Index]
	if j.sources.fail(ev.Index, ev.Source, ev.Err, ev.Time, x != nil && x.partial != ev.Good) {
		if x = j.sources.open[ev.Index]; x != nil {
			x.partial, x.lookupd = ev.Good, ev.Lookupd
		}
		j.say(ev.Time, slog.LevelWarn, text, slog.String("source", ev.Source), slog.Any("error", ev.Err))
		return
	}
	down := j.sources.still(ev.Time)
	if len(down) == 0 {
		return
	}
	x = down[0]
	attrs := []slog.Attr{slog.String("source", x.name), slog.Time("since", x.since), slog.Int("attempts", x.attempts), slog.Any("error", x.err)}
	j.write(slog.LevelWarn, kindOfSource(x.lookupd)+" still fails", append(append(attrs, others(down)...), j.connectedAttr()...)...)
}

// topicState is what sources say of the topic.
type topicState uint8

const (
	topicUnknown topicState = iota
	topicNew                // no nsqd has ever been named
	topicNamed              // nsqds are named
	topicGone               // no nsqd is named any more
)

// searchTexts are the lines about the search for nsqds.
type searchTexts struct{ none, found, gone, again string }

var (
	ofTopic = searchTexts{
		none: "topic has no nsqd yet: its first message creates it", found: "topic has an nsqd now",
		gone: "topic has no nsqd any more: it was deleted, all its nsqds are away, or nsqlookupd has just started", again: "topic has an nsqd again",
	}
	ofAny = searchTexts{ // of a publisher
		none: "no nsqd is registered yet; see WithLookupd", found: "an nsqd is registered now",
		gone: "no nsqd is registered any more: all are away, or nsqlookupd has just started", again: "an nsqd is registered again",
	}
)

// topic tells of a topic that no nsqd has, which is no failure, and of when one has it.
func (j *journal) topic(ev *Event) {
	nsqds, since := slog.Int("nsqds", ev.Named), ev.Time.Sub(j.namedAt)
	before := j.named
	switch {
	case ev.Named > 0:
		j.named = topicNamed
	case !ev.All || !ev.Good: // not all sources have been heard
		return
	case before == topicUnknown:
		j.named = topicNew
	case before == topicNamed:
		j.named = topicGone
	}
	if j.named == before {
		return
	}
	j.namedAt = ev.Time
	switch {
	case j.named == topicNew:
		j.write(slog.LevelInfo, j.search.none)
	case j.named == topicGone:
		j.write(slog.LevelWarn, j.search.gone, slog.String("source", ev.Source))
	case before == topicNew:
		j.write(slog.LevelInfo, j.search.found, nsqds, Seconds("waited_seconds", since))
	case before == topicGone:
		j.write(slog.LevelInfo, j.search.again, nsqds, Seconds("down_seconds", since))
	}
}

// register tells of a registration that fails, or works again.
func (j *journal) register(ev *Event) {
	source := slog.String("source", ev.Source)
	if ev.Err == nil {
		j.say(ev.Time, slog.LevelInfo, "topic and channel are registered now", source)
		return
	}
	j.say(ev.Time, slog.LevelWarn, "topic and channel are not registered at a nsqlookupd: an nsqd that makes the topic later may not keep its first messages for this channel; said once, until it works; see WithoutRegistration",
		source, slog.Any("error", ev.Err))
}
