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
	// window is the maximum number of unanswered asynchronous publishes over all goroutines: nsqx's
	// limit.
	window = 1024

	// batch is the number of messages of an MPUB.
	batch = 100

	// sampled is the interval of timed single-message publishes: reading the clock costs a tenth of
	// some of them.
	sampled = 8
)

// producer publishes to j.Addrs. open connects and returns publish, which publishes n messages and
// returns when all are confirmed. Several goroutines call publish at once, each with its own
// worker.
type producer struct {
	name   string
	open   func(ctx context.Context, j job) (publish func(w *worker, n int) error, end func() error, err error)
	single bool // uses one goroutine only
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

// worker is the state of one publishing goroutine.
type worker struct {
	body      []byte
	begun     int
	latencies []time.Duration
}

// begin is called before a publish of n messages. It returns the time, or zero if this publish is
// not timed.
func (w *worker) begin(n int) (began time.Time) {
	w.begun++
	if n > 1 || w.begun%sampled == 0 {
		began = time.Now()
	}
	return began
}

// end is called when nsqd has confirmed a publish.
func (w *worker) end(began time.Time) {
	if !began.IsZero() {
		w.latencies = append(w.latencies, time.Since(began))
	}
}

// each calls publish for n messages in batches.
func (w *worker) each(n, batch int, publish func(n int) error) error {
	for left := n; left > 0; left -= batch {
		began := w.begin(batch)
		if err := publish(min(left, batch)); err != nil {
			return err
		}
		w.end(began)
	}
	return nil
}

// runProducer is the process of a producer.
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
	workers := newWorkers(j, all[i].single)
	if err := spread(workers, j.warmup(), publish); err != nil {
		return err
	}
	for _, w := range workers {
		w.latencies = w.latencies[:0]
	}
	epoch := time.Now()
	before := used(epoch)
	if err := spread(workers, j.Messages, publish); err != nil {
		return err
	}
	report := clientReport{usage: used(epoch).since(before), Messages: j.Messages}
	if err := end(); err != nil {
		return err
	}
	var latencies []time.Duration
	for _, w := range workers {
		latencies = append(latencies, w.latencies...)
	}
	report.Latency = quantilesOf(latencies)
	return out.Encode(report)
}

// newWorkers returns workers with room for all latencies, so that publishing allocates none.
func newWorkers(j job, single bool) []*worker {
	n := j.Goroutines
	if single {
		n = 1
	}
	body := make([]byte, j.Size)
	var workers []*worker
	for range n {
		workers = append(workers, &worker{body: body, latencies: make([]time.Duration, 0, j.Messages/n+1)})
	}
	return workers
}

// spread publishes n messages from all workers at once.
func spread(workers []*worker, n int, publish func(w *worker, n int) error) error {
	var running errgroup.Group
	for i, w := range workers {
		count := (n - i + len(workers) - 1) / len(workers)
		running.Go(func() error { return publish(w, count) })
	}
	return running.Wait()
}
