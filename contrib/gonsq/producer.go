package gonsq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

const (
	// maxAsync is how many publishes may be under way that nobody waits for.
	maxAsync = 1024

	// closeTime is how long Stop waits for publishes under way.
	closeTime = 10 * time.Second

	// maxWait is the longest wait for the nsqd to be connected.
	maxWait = 10 * time.Second

	// doneTime is how long Stop waits for those who receive transactions.
	doneTime = time.Second
)

// Producer publishes to one nsqd, with the methods of go-nsq's Producer. They are safe for concurrent use.
// It connects at the first publish or Ping, and then stays connected.
type Producer struct {
	*journal

	addr    string
	timeout time.Duration // of the wait for the nsqd
	opts    []nsqx.ProducerOption
	slots   chan struct{}  // holds one element for each publish that nobody waits for
	sending sync.WaitGroup // those publishes
	telling sync.WaitGroup // and their transactions
	gone    chan struct{}  // closed when no transaction is sent any more

	mu        sync.Mutex
	publisher *nsqx.Publisher // nil before the first publish
	stopped   bool
}

// NewProducer returns a producer for an nsqd. The error joins an [*OptionError] for each setting that nsqx
// cannot honour; settings that are for consumers are not looked at. cfg is copied.
func NewProducer(addr string, cfg *Config) (*Producer, error) { return newProducer(addr, cfg, nil) }

func newProducer(addr string, cfg *Config, dial dialFunc) (*Producer, error) {
	checked, err := valid(cfg)
	if err != nil {
		return nil, err
	}
	if err := conn.CheckAddress(addr); err != nil {
		return nil, err
	}
	var f faults
	p := &Producer{
		journal: newJournal("(" + addr + ")"), addr: addr, slots: make(chan struct{}, maxAsync), gone: make(chan struct{}),
	}
	settings := connConfig(&checked, dial, &f)
	p.timeout = min(settings.DialTimeout, maxWait)
	p.opts = []nsqx.ProducerOption{
		nsqx.WithNSQD(addr), nsqx.WithConn(settings), nsqx.WithLogger(p.slog()), nsqx.WithPublishTimeout(p.timeout),
	}
	f = append(f, settings.Validate())
	if err := errors.Join(f...); err != nil {
		return nil, err
	}
	return p, nil
}

// String returns the address.
func (p *Producer) String() string { return p.addr }

// connected returns the publisher when the nsqd is connected.
func (p *Producer) connected() (*nsqx.Publisher, error) {
	p.mu.Lock()
	var err error
	switch {
	case p.stopped:
		err = ErrStopped
	case p.publisher == nil:
		p.publisher, err = nsqx.NewPublisher(p.opts...)
	}
	publisher := p.publisher
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := publisher.Ping(context.Background()); err != nil { // as long as WithPublishTimeout
		return nil, p.translate(err)
	}
	return publisher, nil
}

// Ping connects to the nsqd unless it is connected. If it is not within dial_timeout it returns the reason.
func (p *Producer) Ping() error {
	_, err := p.connected()
	return err
}

// Publish publishes a message, and returns nil when nsqd has confirmed it. While the nsqd is not connected it
// waits for up to dial_timeout, at most 10 s. For the errors see the package documentation.
func (p *Producer) Publish(topic string, body []byte) error {
	return p.publish(&handler.Outgoing{Topic: topic, Messages: []handler.OutgoingMessage{{Body: body}}})
}

// MultiPublish publishes messages with as few commands as nsqd's limits allow.
func (p *Producer) MultiPublish(topic string, bodies [][]byte) error {
	return p.publish(multi(topic, bodies))
}

// DeferredPublish publishes a message that nsqd delivers after a delay, rounded up to milliseconds.
func (p *Producer) DeferredPublish(topic string, delay time.Duration, body []byte) error {
	out, err := deferred(topic, delay, body)
	if err != nil {
		return err
	}
	return p.publish(out)
}

// PublishAsync publishes a message and does not wait for nsqd. If doneChan is not nil, it gets a transaction
// with the error and args. While 1024 publishes are under way the call waits. The order of messages is
// not defined, and body must not be changed before the end. The error is that of connecting.
func (p *Producer) PublishAsync(topic string, body []byte, doneChan chan *ProducerTransaction, args ...any) error {
	return p.publishAsync(&handler.Outgoing{Topic: topic, Messages: []handler.OutgoingMessage{{Body: body}}}, doneChan, args)
}

// MultiPublishAsync is PublishAsync for several messages.
func (p *Producer) MultiPublishAsync(topic string, bodies [][]byte, doneChan chan *ProducerTransaction, args ...any) error {
	return p.publishAsync(multi(topic, bodies), doneChan, args)
}

// DeferredPublishAsync is PublishAsync for a message that nsqd delivers after a delay.
func (p *Producer) DeferredPublishAsync(topic string, delay time.Duration, body []byte, doneChan chan *ProducerTransaction, args ...any) error {
	out, err := deferred(topic, delay, body)
	if err != nil {
		return err
	}
	return p.publishAsync(out, doneChan, args)
}

func multi(topic string, bodies [][]byte) *handler.Outgoing {
	out := &handler.Outgoing{Topic: topic, Messages: make([]handler.OutgoingMessage, len(bodies))}
	for i, body := range bodies {
		out.Messages[i].Body = body
	}
	return out
}

func deferred(topic string, delay time.Duration, body []byte) (*handler.Outgoing, error) {
	if delay < 0 {
		return nil, fmt.Errorf("gonsq: DeferredPublish got the delay %v, want 0 or more", delay)
	}
	return &handler.Outgoing{Topic: topic, Delay: delay, Messages: []handler.OutgoingMessage{{Body: body}}}, nil
}

func (p *Producer) publish(out *handler.Outgoing) error {
	publisher, err := p.connected()
	if err != nil {
		return err
	}
	return p.translate(publisher.Send(context.Background(), out))
}

func (p *Producer) publishAsync(out *handler.Outgoing, doneChan chan *ProducerTransaction, args []any) error {
	publisher, err := p.connected()
	if err != nil {
		return err
	}
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return ErrStopped
	}
	p.sending.Add(1)
	p.telling.Add(1)
	p.mu.Unlock()
	p.slots <- struct{}{}
	go func() {
		defer p.telling.Done()
		t := &ProducerTransaction{Error: p.translate(publisher.Send(context.Background(), out)), Args: args}
		<-p.slots
		p.sending.Done()
		if doneChan == nil {
			return
		}
		select {
		case doneChan <- t:
		case <-p.gone:
		}
	}()
	return nil
}

// Stop closes the producer and waits for publishes under way, for up to 10 s. Later publishes fail with
// ErrStopped.
func (p *Producer) Stop() {
	p.mu.Lock()
	first, publisher := !p.stopped, p.publisher
	p.stopped = true
	p.mu.Unlock()
	if !first || publisher == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	sent := make(chan struct{})
	go func() {
		p.sending.Wait()
		close(sent)
	}()
	select {
	case <-sent:
	case <-ctx.Done():
	}
	if err := publisher.Shutdown(ctx); err != nil {
		p.slog().Warn("publishes were not confirmed", "error", err)
	}
	defer time.AfterFunc(doneTime, func() { close(p.gone) }).Stop()
	p.telling.Wait()
}

// publishError is an error of nsqx that is one of go-nsq's, too.
type publishError struct{ as, err error }

func (e *publishError) Error() string   { return e.err.Error() }
func (e *publishError) Unwrap() []error { return []error{e.as, e.err} }

// translate returns the error of a publish.
func (p *Producer) translate(err error) error {
	if err == nil {
		return nil
	}
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	refused, ok := errors.AsType[*conn.ServerError](err)
	switch {
	case ok && errors.Is(err, nsqx.ErrRejected):
		return ErrProtocol{Reason: refused.Code + " " + refused.Text}
	case stopped:
		return &publishError{ErrStopped, err}
	case errors.Is(err, nsqx.ErrRejected): // as nsqd would have refused it
		return &publishError{ErrProtocol{Reason: err.Error()}, err}
	}
	return &publishError{ErrNotConnected, err}
}
