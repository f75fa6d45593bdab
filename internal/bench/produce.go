package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// window is how many asynchronous publishes may be unanswered, over all goroutines: as many as nsqx allows.
	window = 1024

	// batch is how many messages an MPUB of the multi clients has.
	batch = 100

	// sampled is that of how many publishes of a single message one is timed: to look at the clock costs a tenth of what
	// some of them do.
	sampled = 8
)

// producer publishes to j.Addrs. Its open connects, and returns what publishes n messages from one goroutine: it is called
// by several at once, each with a lane of its own, and returns when all n are confirmed.
type producer struct {
	name string
	open func(ctx context.Context, j job) (publish func(l *lane, n int) error, end func() error, err error)
	lone bool // one goroutine does it all
}

func producers() []producer {
	return []producer{
		{"bare", openBare, true},
		{"go-nsq", openGoNSQ(publishGoNSQ), false},
		{"go-nsq-multi", openGoNSQ(multiGoNSQ), false},
		{"go-nsq-async", openGoNSQ(asyncGoNSQ), false},
		{"nsqx", openNSQX(publishNSQX), false},
		{"nsqx-multi", openNSQX(multiNSQX), false},
		{"nsqx-async", openNSQX(asyncNSQX), false},
	}
}

// lane is what one goroutine has to itself.
type lane struct {
	body      []byte
	begun     int
	latencies []time.Duration
}

// begin is called before a publish of n messages. It returns the time if this one is to be timed.
func (l *lane) begin(n int) (began time.Time) {
	l.begun++
	if n > 1 || l.begun%sampled == 0 {
		began = time.Now()
	}
	return began
}

// end is called when nsqd has confirmed that publish.
func (l *lane) end(began time.Time) {
	if !began.IsZero() {
		l.latencies = append(l.latencies, time.Since(began))
	}
}

// each calls publish for n messages in batches.
func (l *lane) each(n, batch int, publish func(n int) error) error {
	for left := n; left > 0; left -= batch {
		began := l.begin(batch)
		if err := publish(min(left, batch)); err != nil {
			return err
		}
		l.end(began)
	}
	return nil
}

// runProducer is a producing client's process.
func runProducer(j job, _ io.Reader, out *json.Encoder) error {
	all := producers()
	i := slices.IndexFunc(all, func(p producer) bool { return p.name == j.Client })
	if i < 0 {
		return fmt.Errorf("bench: no producer named %q", j.Client)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lapTimeout)
	defer cancel()
	publish, end, err := all[i].open(ctx, j)
	if err != nil {
		return err
	}
	lanes := newLanes(j, all[i].lone)
	if err := spread(lanes, j.warmup(), publish); err != nil {
		return err
	}
	for _, l := range lanes {
		l.latencies = l.latencies[:0]
	}
	epoch := time.Now()
	before := used(epoch)
	if err := spread(lanes, j.Messages, publish); err != nil {
		return err
	}
	report := clientReport{usage: used(epoch).since(before), Messages: j.Messages}
	if err := end(); err != nil {
		return err
	}
	var latencies []time.Duration
	for _, l := range lanes {
		latencies = append(latencies, l.latencies...)
	}
	report.Latency = quantilesOf(latencies)
	return out.Encode(report)
}

// newLanes makes them with room for all that they will time, so that it is not made while they publish.
func newLanes(j job, lone bool) []*lane {
	n := j.Goroutines
	if lone {
		n = 1
	}
	body := make([]byte, j.Size)
	var lanes []*lane
	for range n {
		lanes = append(lanes, &lane{body: body, latencies: make([]time.Duration, 0, j.Messages/n+1)})
	}
	return lanes
}

// spread publishes n messages from all lanes at once.
func spread(lanes []*lane, n int, publish func(l *lane, n int) error) error {
	var running errgroup.Group
	for i, l := range lanes {
		share := (n - i + len(lanes) - 1) / len(lanes)
		running.Go(func() error { return publish(l, share) })
	}
	return running.Wait()
}
