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

// publisherReport says how well the publisher kept its schedule.
type publisherReport struct {
	Lag quantiles // from the instant at which a message was due to that at which it was published
}

// glanceEvery is how often the publisher looks at nsqd's OKs. They are small: none has to be read at once.
const glanceEvery = 10 * time.Millisecond

// publisher publishes at instants that do not depend on how fast anyone is: intervals are exponential, and who is
// late catches up. It spins until a message is due, since a timer would be off by more than what is measured.
type publisher struct {
	feeds   []*feed
	command []byte // a PUB, whole
	body    []byte // the command's
	glances time.Time
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

// publish publishes message seq when it is due, and says how late.
func (p *publisher) publish(seq uint64, due time.Time) (lag time.Duration, err error) {
	now := time.Now()
	for ; now.Before(due); now = time.Now() {
		if err := p.glance(now); err != nil {
			return 0, err
		}
	}
	putBody(p.body, seq, now)
	return now.Sub(due), p.feeds[seq%uint64(len(p.feeds))].send(p.command)
}

func (p *publisher) glance(now time.Time) error {
	if now.Before(p.glances) {
		return nil
	}
	p.glances = now.Add(glanceEvery)
	for _, f := range p.feeds {
		if err := f.glance(); err != nil {
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
