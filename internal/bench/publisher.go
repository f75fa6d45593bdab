package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"time"
)

// publisherReport reports how well the publisher kept its schedule.
type publisherReport struct {
	Lag quantiles // from the due time of a message to its publish
}

// pollEvery is how often the publisher reads nsqd's OKs. They are small, so this can wait.
const pollEvery = 10 * time.Millisecond

// publisher publishes at times that do not depend on any client: intervals are exponential, and a
// late publisher catches up. It spins until a message is due, because a timer is less exact than
// the measurement.
type publisher struct {
	feeds    []*feed
	command  []byte // a whole PUB
	body     []byte // part of command
	nextPoll time.Time
}

func runPublisher(j job, _ io.Reader, out *json.Encoder) error {
	runtime.LockOSThread()
	p := newPublisher(j)
	defer p.close()
	if err := p.dial(j.Addrs); err != nil {
		return err
	}
	lags := make([]time.Duration, j.warmup()+j.Messages)
	due := time.Now()
	for seq := range lags {
		due = due.Add(time.Duration(rand.ExpFloat64() * float64(time.Second) / float64(j.Rate)))
		lag, err := p.publish(uint64(seq), due)
		if err != nil {
			return err
		}
		lags[seq] = lag
	}
	if err := p.settle(); err != nil {
		return err
	}
	return out.Encode(publisherReport{Lag: quantilesOf(lags[j.warmup():])})
}

func newPublisher(j job) *publisher {
	head := fmt.Appendf(nil, "PUB %s\n", j.Topic)
	head = binary.BigEndian.AppendUint32(head, uint32(j.Size))
	command := append(head, make([]byte, j.Size)...)
	return &publisher{command: command, body: command[len(head):]}
}

func (p *publisher) dial(addrs []string) error {
	for _, addr := range addrs {
		f, err := dialFeed(context.Background(), addr)
		if err != nil {
			return err
		}
		p.feeds = append(p.feeds, f)
	}
	return p.settle()
}

func (p *publisher) settle() error {
	for _, f := range p.feeds {
		if err := f.settle(); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes message seq when it is due and returns the delay.
func (p *publisher) publish(seq uint64, due time.Time) (lag time.Duration, err error) {
	now := time.Now()
	for ; now.Before(due); now = time.Now() {
		if err := p.poll(now); err != nil {
			return 0, err
		}
	}
	putBody(p.body, seq, now)
	return now.Sub(due), p.feeds[seq%uint64(len(p.feeds))].send(p.command)
}

func (p *publisher) poll(now time.Time) error {
	if now.Before(p.nextPoll) {
		return nil
	}
	p.nextPoll = now.Add(pollEvery)
	for _, f := range p.feeds {
		if err := f.poll(); err != nil {
			return err
		}
	}
	return nil
}

func (p *publisher) close() {
	for _, f := range p.feeds {
		f.close()
	}
}
