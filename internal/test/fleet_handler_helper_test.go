package test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// handle is the handler of replica r. It takes as long as its slowest message, and returns the result
// of each.
func (f *fleet) handle(r int, bodies []string) []error {
	var longest time.Duration
	var release chan struct{}
	var busy *busy
	numbers, errs := make([]int, len(bodies)), make([]error, len(bodies))
	for i, body := range bodies {
		n, err := strconv.Atoi(body)
		if err != nil {
			f.t.Errorf("message %q", body)
		}
		f.mu.Lock()
		rec, m := f.records[n], f.mode
		if rec.runs++; rec.runs == 1 {
			f.unstarted--
		}
		if f.window != nil && n >= f.current {
			f.window.started(f, r, rec)
		}
		run := rec.runs
		if busy == nil {
			busy = f.window.begin(f.now())
		}
		f.mu.Unlock()
		took, hangs, err := f.plan(rec, n, run, m)
		if hangs {
			f.hung()
		}
		numbers[i], errs[i], longest, release = n, err, max(longest, took), m.release
	}
	if release != nil {
		<-release
	} else {
		time.Sleep(longest)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	busy.to = f.now()
	for i, n := range numbers {
		rec := f.records[n]
		switch {
		case errs[i] != nil:
			rec.failed++
			if n >= f.current {
				f.forced++
			}
		case !rec.handled && !rec.dead:
			rec.handled = true
			f.handled = append(f.handled, f.now())
			f.settle(n)
		}
	}
	return errs
}

// hung notes a run that hangs: its message is delivered once more.
func (f *fleet) hung() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.forced++; f.window != nil && f.window.to == 0 {
		f.window.hangs++
	}
}

// plan decides what a run does, always the same for a seed.
func (f *fleet) plan(rec *record, n, run int, m mode) (took time.Duration, hangs bool, err error) {
	if m.err != nil {
		return m.after, false, m.err
	}
	r := rand.New(rand.NewPCG(f.s.seed, uint64(n)<<16|uint64(run)))
	took, hangs = f.s.service.sample(r)
	if m.release != nil {
		return 0, true, nil
	}
	if rec.bad || r.Float64() < f.s.failing {
		err = errAway
	}
	return took, hangs, err
}

// deadLetter takes the messages that are given up.
func (f *fleet) deadLetter(_ context.Context, m *handler.Message, _ error) error {
	n, err := strconv.Atoi(string(m.Body))
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := f.records[n]
	if rec.dead {
		return nil
	}
	rec.unseen, rec.early = rec.failed == 0, rec.failed < f.s.maxAttempts
	if f.s.replicas > 1 { // one that gives up a message does not know which attempts others have given back
		rec.early = rec.failed+int(m.Attempts)-rec.runs < f.s.maxAttempts
	}
	if rec.dead = true; !rec.handled {
		f.settle(n)
	}
	if rec.failed > 0 && n >= f.current {
		f.forced-- // the last failure forced none
	}
	return nil
}
