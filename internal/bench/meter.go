package main

import (
	"sync"
	"time"
)

// meter measures in a client's process. Every client's handler calls handle; report is called after
// the last handler.
type meter interface {
	handle(body []byte)
	report() clientReport
}

// clientReport is the result of a client's process.
type clientReport struct {
	usage
	Messages   int           // handled during the measurement; this and the next two only with a real nsqd
	Tail       time.Duration // from the end of the measurement to the last message
	Duplicates int           // messages handled a second time
	Latency    quantiles     // of the latency scenario
	Memory     memory        // at the end, less that at the start
	Alone      usage         // decoding alone
}

// newMeter returns the scenario's meter. It calls done when all measured messages are handled.
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
	done func() // called at the second mark

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

func (m *markMeter) report() clientReport {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clientReport{usage: m.stop.since(m.start)}
}
