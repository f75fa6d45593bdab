package discover

import "time"

// deletedAfter is the number of answers in a row without an nsqd that show a deletion.
const deletedAfter = 3

// deletion tells a topic that was deleted by name from one whose nsqds are all away. nsqlookupd keeps
// the name of a topic when its nsqds leave, so it answers with an empty list then. After a deletion it
// does not know the topic. It does not after a restart either, so other nsqlookupds must agree, and
// nsqds get the time of three polls to come back.
type deletion struct {
	named   bool      // the source has named an nsqd
	known   bool      // the last answer knew the topic
	since   time.Time // of the first answer that did not, after one that did; zero if an nsqd was named since
	answers int       // without an nsqd, from then on
}

// answered takes a successful poll.
func (d *deletion) answered(found int, noTopic bool) {
	switch {
	case found > 0:
		d.named, d.since, d.answers = true, time.Time{}, 0
	case d.answers > 0:
		d.answers = min(d.answers+1, deletedAfter)
	case noTopic && d.known && d.named:
		d.since, d.answers = time.Now(), 1
	}
	d.known = !noTopic
}

// deleted reports whether every source that has ever named an nsqd says that the topic was deleted,
// and when the last of them began to. The caller holds mu.
func (d *Discovery) deleted() (since time.Time, ok bool) {
	for _, s := range d.sources {
		x := &s.deletion
		switch {
		case !x.named:
		case x.answers < deletedAfter || time.Since(x.since) < d.cfg.Interval*3/2: // intervals vary
			return time.Time{}, false
		case x.since.After(since):
			since = x.since
		}
	}
	return since, !since.IsZero()
}

// deleting reports whether a source may be about to show a deletion. Nothing is registered with it
// for so many polls, for else other consumers would not see it. The caller holds mu.
func (d *Discovery) deleting(s *source) bool {
	return s.deletion.answers > 0 && s.deletion.answers < deletedAfter && d.table.Named() == 0
}
