package redrive

import (
	"fmt"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// maxLeft limits the length of Left.letters.
const maxLeft = 1 << 20

var errTooManyLeft = fmt.Errorf("nsqx: more than %d dead letters stay, and Redrive cannot tell further ones apart: it may end before it has seen all", maxLeft)

// Left remembers dead letters that stay, since each returns while a redrive runs. The zero value is
// ready to use.
type Left struct {
	letters map[letter]struct{}
}

// LeftDelay is how long a dead letter that stays is requeued for, by the idle time of the redrive: so
// long that it does not return while the redrive waits for others. Requeued without a delay, it would
// return again and again until the idle time is over. In 5 s ten messages got 9000 more attempts each,
// which nsqd counts with 16 bits; 20 000 got 18 each, and the pass took twice as long. With the delay
// each gets one.
func LeftDelay(idle time.Duration) time.Duration { return min(2*idle, time.Hour) }

type letter struct {
	nsqd string
	id   handler.ID
}

// Has reports whether Add would not report a message as the first.
func (l *Left) Has(m *handler.Message) bool {
	_, again := l.letters[letter{m.NSQD(), m.ID}]
	return again || len(l.letters) == maxLeft
}

// Add reports whether a message was not added before. If that cannot be known it returns false and an
// error: then a redrive that meets only such messages ends.
func (l *Left) Add(m *handler.Message) (first bool, err error) {
	key := letter{m.NSQD(), m.ID}
	switch _, again := l.letters[key]; {
	case again:
		return false, nil
	case len(l.letters) == maxLeft:
		return false, errTooManyLeft
	case l.letters == nil:
		l.letters = make(map[letter]struct{})
	}
	l.letters[key] = struct{}{}
	return true, nil
}
