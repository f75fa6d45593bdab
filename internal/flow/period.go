package flow

import "time"

// parts is the number of parts in which a period is counted.
const parts = 10

// Tally is a number of results and how many of them failed.
type Tally struct{ Results, Failed int }

// totals are numbers of results since the start.
type totals struct{ good, failed uint64 }

// period tells the results of the last ten parts of a period from earlier ones. The zero value of
// its state starts with the first move.
type period struct {
	part time.Duration
	past [parts]totals // at the start of each part, the oldest at next
	next int
	ends time.Duration // of the current part; 0: not started
}

// over reports whether the current part has ended.
func (p *period) over(now time.Duration) bool { return now >= p.ends }

// move starts the part of now, with the totals of this instant.
func (p *period) move(now time.Duration, t totals) {
	if p.ends == 0 {
		for i := range p.past {
			p.past[i] = t
		}
		p.ends = now + p.part
		return
	}
	for range parts {
		if now < p.ends {
			return
		}
		p.past[p.next] = t
		p.next = (p.next + 1) % parts
		p.ends += p.part
	}
	p.ends = max(p.ends, now+p.part)
}

// since returns the results of the period.
func (p *period) since(t totals) Tally {
	oldest := p.past[p.next]
	failed := t.failed - oldest.failed
	return Tally{int(t.good - oldest.good + failed), int(failed)}
}
