package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
)

type pubCommand struct {
	Topic  string   `arg:"" help:"Topic, which must exist."`
	File   []string `short:"f" help:"A file that is one message; may be repeated. Defaults to each line of the standard input, except empty ones." type:"existingfile" placeholder:"FILE"`
	Header []string `short:"H" help:"A header, key=value; may be repeated. The messages then have an envelope." placeholder:"K=V" sep:"none"`
	At     string   `help:"When consumers get the messages: a time in RFC 3339, or after a duration such as 10m. nsqd allows an hour." placeholder:"TIME"`
	Rate   float64  `help:"Most messages a second; 0 for no limit." default:"0"`
}

func (c *pubCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	at, err := c.time()
	if err != nil {
		return err
	}
	if !(c.Rate >= 0 && c.Rate <= 1e6) {
		return usage("--rate is %v, want 0 to 1000000", c.Rate)
	}
	headers := ctx
	for _, h := range c.Header {
		key, value, ok := strings.Cut(h, "=")
		if !ok {
			return usage("--header: %q is not key=value", h)
		}
		headers = handler.WithHeader(headers, key, value)
	}
	cfg, err := s.conn()
	if err != nil {
		return err
	}
	_, places, _, err := s.places(ctx, t, c.Topic)
	if err != nil {
		return err
	}
	addrs := make([]string, 0, len(places))
	for _, p := range places { // others would create the topic
		addrs = append(addrs, p.node.Addr)
	}
	opts := []nsqx.ProducerOption{nsqx.WithNSQD(addrs...), nsqx.WithConn(cfg), nsqx.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))}
	if len(c.Header) > 0 {
		opts = append(opts, nsqx.WithEnvelope())
	}
	p, err := nsqx.NewProducer(c.Topic, codec.Bytes(), opts...)
	if err != nil {
		return err
	}
	r := &publishRun{t: t}
	sent, began := 0, time.Now()
	err = c.bodies(t, func(body []byte) error {
		if c.Rate > 0 {
			select {
			case <-time.After(time.Until(began.Add(time.Duration(float64(sent) / c.Rate * float64(time.Second))))):
			case <-ctx.Done():
			}
		}
		if err := cmp.Or(ctx.Err(), r.failure()); err != nil {
			return err
		}
		sent++
		if at.IsZero() {
			return p.PublishAsync(headers, body, r.done) // several under way, in order
		}
		err := p.PublishAfter(headers, max(time.Until(at), 0), body)
		r.done(err)
		return err
	})
	err = cmp.Or(r.failure(), err, p.Close())
	err = cmp.Or(err, r.failure())
	t.note("%d messages to %s confirmed, of %d", r.confirmed, c.Topic, sent)
	if err != nil && r.confirmed > 0 {
		return status{err, exitPart}
	}
	return err
}

// publishRun counts answers.
type publishRun struct {
	t *terminal

	mu        sync.Mutex
	confirmed int
	err       error // the first
}

func (r *publishRun) done(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err = cmp.Or(r.err, err)
		return
	}
	if r.confirmed++; r.confirmed%100 == 0 {
		r.t.show("%d messages confirmed", r.confirmed)
	}
}

func (r *publishRun) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// time returns the time of --at, the zero time without.
func (c *pubCommand) time() (time.Time, error) {
	if c.At == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(c.At); err == nil && d >= 0 {
		return time.Now().Add(d), nil
	}
	at, err := time.Parse(time.RFC3339, c.At)
	if err != nil {
		return at, usage("--at: %q is neither a time in RFC 3339 nor a duration", c.At)
	}
	return at, nil
}

// bodies calls f for each message, until it fails.
func (c *pubCommand) bodies(t *terminal, f func([]byte) error) error {
	for _, name := range c.File {
		body, err := os.ReadFile(name)
		if err == nil {
			err = f(body)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(c.File) > 0 {
		return nil
	}
	lines := bufio.NewScanner(t.in)
	lines.Buffer(nil, maxMessage)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := f(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d bytes", maxMessage)
	} else if err != nil {
		return err
	}
	return nil
}
