package main

import (
	"sync"
	"time"
)

// meter is what a client's process measures with. Its handle is what every client's handler does; its report is
// asked for when no handler runs any more.
type meter interface {
	handle(body []byte)
	report() clientReport
}

// clientReport is what a client's process measured.
type clientReport struct {
	usage
	Messages   int           // handled meanwhile; these three from a real nsqd only
	Tail       time.Duration // from then to the last message
	Duplicates int           // messages handled a second time
	Latency    quantiles     // of the latency scenario
	Memory     memory        // held in the end, beyond what the process began with
	Alone      usage         // of decoding, and nothing else
}

// newMeter calls done when all that is to be measured has been handled.
func newMeter(j job, done func()) meter {
	switch j.Scenario {
	case "drain":
		return newDrainMeter(j.Messages, done)
	case "latency":
		return newLatencyMeter(j.Messages, j.warmup(), done)
	default:
		return &markMeter{done: done}
	}
}

// markMeter takes the usage at the sender's two marks.
type markMeter struct {
	done func() // called at the second

	mu          sync.Mutex
	epoch       time.Time
	start, stop usage
}

// handle costs an ordinary message one comparison.
func (m *markMeter) handle(body []byte) {
	if body[0] == ordinary {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch body[0] {
	case startMark:
		m.epoch = time.Now()
		m.start = used(m.epoch)
	case stopMark:
		m.stop = used(m.epoch)
		m.done()
	}
}

// report returns what was used between the marks.
func (m *markMeter) report() clientReport {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clientReport{usage: m.stop.since(m.start)}
}
