package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

type tailCommand struct {
	Topic  string `arg:"" help:"Topic. It must have a channel that is not ephemeral."`
	Where  string `short:"w" help:"Only messages for which this jq program is neither false nor null." placeholder:"JQ"`
	Decode string `help:"How to show bodies: text, json or hex." enum:"text,json,hex" default:"text"`
	Limit  int    `short:"n" help:"End after so many messages; 0 for never." default:"0"`
	JSON   bool   `name:"json" help:"Print JSON, one object a line."`
}

func (c *tailCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	where, err := newFilter(c.Where)
	if err != nil {
		return err
	}
	cfg, err := s.conn()
	if err != nil {
		return err
	}
	_, places, failed, err := s.places(ctx, t, c.Topic)
	if err != nil {
		return err
	}
	var nodes []admin.Node
	without := 0
	for _, p := range places {
		if lasting(p) {
			nodes = append(nodes, p.node)
		} else {
			without++
		}
	}
	if without > 0 {
		t.note("topic %s has no channel that lasts at %d nsqds, so a look at it would take its messages: they are left out", c.Topic, without)
	}
	if len(nodes) == 0 {
		return fmt.Errorf("topic %s has no channel that is not ephemeral: the channel of tail would take its messages with it", c.Topic)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{t: t, where: where, command: c, stop: cancel, got: make(chan arrival, maxFollowed*len(nodes)), ended: ctx.Done()}
	var (
		reading sync.WaitGroup
		mu      sync.Mutex
		errs    []error
	)
	channel := "nsqx-tail-" + rand.Text()[:12] + "#ephemeral"
	live := len(nodes)
	for _, n := range nodes {
		reading.Go(func() {
			err := f.follow(ctx, cfg, n.Addr, channel)
			mu.Lock()
			defer mu.Unlock()
			if live--; err != nil && ctx.Err() == nil {
				errs = append(errs, err)
				t.report(err)
			}
			if live == 0 {
				cancel()
			}
		})
	}
	f.print(ctx)
	reading.Wait()
	switch {
	case f.err != nil:
		return f.err
	case len(errs) == len(nodes):
		return errors.New("no nsqd can be read")
	case len(errs) > 0:
		return part("%d nsqds could not be read to the end", len(errs))
	}
	return failed
}

// lasting reports whether the topic has a channel that is not ephemeral. Otherwise messages that the
// channel of tail takes would reach nobody else.
func lasting(p place) bool {
	for name := range p.channels {
		if !strings.HasSuffix(name, "#ephemeral") {
			return true
		}
	}
	return false
}

const maxFollowed = 100 // messages in flight of an nsqd

// arrival is a message that is not printed yet.
type arrival struct {
	c *conn.Conn
	d *handler.Delivery
}

// follower prints what its connections deliver.
type follower struct {
	t       *terminal
	where   *filter
	command *tailCommand
	stop    context.CancelFunc
	got     chan arrival
	ended   <-chan struct{}
	printed int
	err     error
}

// Deliver implements conn.Sink. What does not fit returns, since nothing is in flight beyond the quota.
func (f *follower) Deliver(c *conn.Conn, msgs []handler.Delivery) {
	for i := range msgs {
		select {
		case f.got <- arrival{c, &msgs[i]}:
		default:
			c.Requeue(&msgs[i], 0)
			msgs[i].Release()
		}
	}
}

// Refused implements conn.Sink.
func (f *follower) Refused(*conn.Conn, error) {}

// Yielded implements conn.Sink.
func (f *follower) Yielded(*conn.Conn) {}

// follow reads one nsqd until ctx ends.
func (f *follower) follow(ctx context.Context, cfg conn.Config, nsqd, channel string) error {
	c, err := conn.Dial(ctx, nsqd, cfg, &conn.Subscription{Topic: f.command.Topic, Channel: channel, FixedRDY: true})
	if err != nil {
		return err
	}
	c.SetQuota(maxFollowed)
	defer context.AfterFunc(ctx, func() { c.Abort(context.Canceled) })() // the channel goes with it
	return c.Serve(f)
}

func (f *follower) print(ctx context.Context) {
	for {
		select {
		case a := <-f.got:
			l := newLetter(a.d.Message())
			l.tooLarge = a.d.Fault() != nil
			a.c.Finish(a.d)
			a.d.Release()
			if f.err = f.one(ctx, l); f.err != nil {
				f.stop()
				return
			}
			if f.printed == f.command.Limit && f.printed > 0 {
				f.stop()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (f *follower) one(ctx context.Context, l *letter) error {
	ok, err := f.where.match(ctx, l)
	if err != nil {
		f.t.show("%v", err)
	}
	if !ok {
		return nil
	}
	f.printed++
	if f.command.JSON {
		return f.t.printJSON(l.view())
	}
	var b strings.Builder
	b.WriteString(f.t.paint(text.FgHiBlack, l.at.Format("15:04:05.000")+" "+l.id))
	for _, key := range sorted(l.headers) {
		b.WriteString(" " + f.t.paint(text.FgCyan, safe(key)) + "=" + safe(l.headers[key]))
	}
	b.WriteString(" ")
	if l.tooLarge {
		b.WriteString("(too large)")
	} else {
		b.WriteString(l.decode(f.command.Decode))
	}
	return f.t.print(b.String())
}
