package gonsq

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
)

// stopTime is how long Stop leaves to handlers.
const stopTime = 30 * time.Second

// Consumer is a consumer with the methods of go-nsq's. They are safe for concurrent use.
type Consumer struct {
	// StopChan is closed when the consumer has stopped.
	StopChan chan int

	*journal

	topic, channel string
	cfg            Config
	opts           []nsqx.ConsumerOption
	dialTime       time.Duration // of one dial, at most
	run            runner
	free           chan Handler // handlers that are not running
	lookupds       *lookupds
	events         events

	mu          sync.Mutex
	handlers    []Handler
	fault       error // of a call that has no result: returned by the next ConnectTo…
	maxInFlight int
	nsqds       []string // given to ConnectToNSQD, in nsqx's form
	stopped     bool
	stoppedAt   time.Time
	consumer    *nsqx.Consumer[[]byte] // nil before the first ConnectTo…
	cancel      context.CancelFunc
}

// NewConsumer returns a consumer of a channel of a topic. It connects when ConnectToNSQD or
// ConnectToNSQLookupd is called. The error joins an [*OptionError] for each setting that nsqx cannot
// honour, unless go-nsq itself refuses the arguments. cfg is copied.
func NewConsumer(topic, channel string, cfg *Config) (*Consumer, error) {
	return newConsumer(topic, channel, cfg, nil)
}

func newConsumer(topic, channel string, cfg *Config, dial dialFunc) (*Consumer, error) {
	checked, err := valid(cfg)
	switch {
	case err != nil:
		return nil, err
	case !IsValidTopicName(topic):
		return nil, errors.New("invalid topic name")
	case !IsValidChannelName(channel):
		return nil, errors.New("invalid channel name")
	}
	var f faults
	c := &Consumer{
		StopChan: make(chan int), journal: newJournal("[" + topic + "/" + channel + "]"),
		topic: topic, channel: channel, cfg: checked, maxInFlight: checked.MaxInFlight,
		lookupds: newLookupds(&checked),
	}
	c.events.init()
	settings := connConfig(&checked, dial, &f)
	c.dialTime = settings.DialTimeout
	c.opts = append(consumerOptions(&checked, &f), nsqx.WithConn(settings), nsqx.WithDiscoverer(c.lookupds),
		nsqx.WithLogger(c.slog()), nsqx.WithHooks(c.events.hooks()))
	if n := int(checked.MaxAttempts); n > 0 && n < 1<<16-1 {
		c.opts = append(c.opts, nsqx.WithCrashGuard(n+1), nsqx.WithDeadLetterFunc(c.giveUp))
	}
	c.run = runner{
		acquire: c.acquire, release: func(h Handler) { c.free <- h },
		failed: func(m *Message, err error) error { return retryAfter(requeueDelay(&c.cfg, m), err) },
		delay:  func(m *Message) time.Duration { return requeueDelay(&c.cfg, m) },
		log: func(m *Message, err error) {
			c.slog().Error("handler returned error", "msg.id", string(m.ID[:]), "nsqd", m.NSQDAddress, "error", err)
		},
	}
	if len(f) == 0 { // what nsqx itself refuses
		_, err := c.build(1)
		f = append(f, err)
	}
	if err := errors.Join(f...); err != nil {
		return nil, err
	}
	return c, nil
}

// build makes nsqx's consumer for n handlers.
func (c *Consumer) build(n int) (*nsqx.Consumer[[]byte], error) {
	return nsqx.NewConsumer(c.topic, c.channel, codec.Bytes(), handler.Async(c.run.handle),
		append(slices.Clip(c.opts), nsqx.WithConcurrency(n))...)
}

// AddHandler adds a handler that is called for one message at a time. With one handler alone the calls
// come in the order in which each nsqd sends the messages.
//
// It panics if the consumer is connected.
func (c *Consumer) AddHandler(h Handler) { c.AddConcurrentHandlers(h, 1) }

// AddConcurrentHandlers adds a handler that is called for up to n messages at a time.
//
// It panics if the consumer is connected.
func (c *Consumer) AddConcurrentHandlers(h Handler, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.consumer != nil {
		panic("already connected")
	}
	if h == nil {
		c.fault = errors.New("gonsq: AddHandler got nil")
		return
	}
	for range n {
		c.handlers = append(c.handlers, h)
	}
}

// SetBehaviorDelegate sets a [DiscoveryFilter], which chooses among the nsqds that a nsqlookupd names. Anything
// else is an error of the next ConnectToNSQLookupd or ConnectToNSQD.
func (c *Consumer) SetBehaviorDelegate(delegate any) {
	filter, ok := delegate.(DiscoveryFilter)
	if !ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fault = fmt.Errorf("gonsq: SetBehaviorDelegate got %T, which is no DiscoveryFilter", delegate)
		return
	}
	c.lookupds.setFilter(filter)
}

// SetLookupdHttpClient sets the client for requests to nsqlookupds. nil stands for the default, whose
// timeout is lookupd_poll_timeout.
//
//lint:ignore ST1003 the name is go-nsq's
func (c *Consumer) SetLookupdHttpClient(client *http.Client) { c.lookupds.setClient(client) }

// check returns why the consumer cannot run. The caller holds mu.
func (c *Consumer) check() error {
	switch {
	case c.stopped:
		return errStopped
	case c.fault != nil:
		return c.fault
	case len(c.handlers) == 0:
		return errors.New("no handlers")
	}
	return nil
}

var errStopped = errors.New("consumer stopped")

// start starts the consumer unless it runs. The caller holds mu.
func (c *Consumer) start() error {
	if err := c.check(); err != nil || c.consumer != nil {
		return err
	}
	consumer, err := c.build(len(c.handlers))
	if err != nil {
		return err
	}
	c.consumer, c.free = consumer, make(chan Handler, len(c.handlers))
	for _, h := range c.handlers {
		c.free <- h
	}
	c.setMaxInFlight()
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() {
		defer close(c.StopChan)
		_ = consumer.Run(ctx) // the log has it
		c.await()
	}()
	return nil
}

// await waits for handlers that have answered, but not returned.
func (c *Consumer) await() {
	c.mu.Lock()
	end := c.stoppedAt.Add(stopTime)
	c.mu.Unlock()
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	for range cap(c.free) {
		select {
		case <-c.free:
		case <-timer.C:
			return
		}
	}
}

// acquire waits until a handler is free.
func (c *Consumer) acquire(ctx context.Context) (Handler, error) {
	select {
	case h := <-c.free:
		return h, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ChangeMaxInFlight sets how many messages may be in flight. 0 or less pauses the consumer: messages that no
// handler has started go back to nsqd.
func (c *Consumer) ChangeMaxInFlight(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maxInFlight = n
	if c.consumer != nil {
		c.setMaxInFlight()
	}
}

// setMaxInFlight applies maxInFlight. The caller holds mu.
func (c *Consumer) setMaxInFlight() {
	if c.maxInFlight <= 0 {
		c.consumer.Pause()
		return
	}
	_ = c.consumer.SetMaxInFlight(min(c.maxInFlight, maxInFlight)) // within limits
	c.consumer.Resume()
}

// Stats returns the number of connections, and counters of messages: those that were passed to handlers,
// and their answers.
func (c *Consumer) Stats() *ConsumerStats {
	s := &ConsumerStats{
		MessagesReceived: c.run.received.Load(), MessagesFinished: c.run.finished.Load(), MessagesRequeued: c.run.requeued.Load(),
	}
	for _, x := range c.stats().Connections {
		if x.Connected {
			s.Connections++
		}
	}
	return s
}

// stats returns nsqx's statistics; zero before the first ConnectTo….
func (c *Consumer) stats() nsqx.Stats {
	c.mu.Lock()
	consumer := c.consumer
	c.mu.Unlock()
	if consumer == nil {
		return nsqx.Stats{}
	}
	return consumer.Stats()
}

// IsStarved reports whether no more messages may come on a connection before some are answered: a program
// that collects messages should answer them. While the consumer stops it is true as long as messages
// are not answered.
func (c *Consumer) IsStarved() bool {
	c.mu.Lock()
	stopped := c.stopped
	c.mu.Unlock()
	s := c.stats()
	if stopped {
		return s.Running+s.Unanswered > 0
	}
	for _, x := range s.Connections {
		if x.InFlight > 0 && x.InFlight >= x.Quota*85/100 {
			return true
		}
	}
	return false
}

// Stop begins to stop the consumer, for good; StopChan is closed at the end. No handler is started any more,
// messages that no handler has started go back to nsqd, and the others may be answered for 30 s.
func (c *Consumer) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	c.stopped, c.stoppedAt = true, time.Now()
	if c.consumer == nil {
		close(c.StopChan)
		return
	}
	c.cancel()
}
