package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
)

// redirected returns a DialContext that dials to(addr).
func redirected(to func(addr string) string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, to(addr))
	}
}

// randomProducer is a producer with goroutines that publish at random in every way.
type randomProducer struct {
	*nsqx.Producer[string]
	book    *account
	stopped atomic.Bool
	writers sync.WaitGroup
}

// pace is the longest pause of a goroutine between two publishes.
const pace = 8 * time.Millisecond

// startProducer makes a producer with one goroutine for each stream in [first, first+streams).
func startProducer(book *account, random *rand.Rand, first, streams int, opts ...nsqx.ProducerOption) (*randomProducer, error) {
	p, err := nsqx.NewProducer(topic, codec.String(), append(opts, nsqx.WithPublishTimeout(time.Second))...)
	if err != nil {
		return nil, err
	}
	a := &randomProducer{Producer: p, book: book}
	for stream := first; stream < first+streams; stream++ {
		r := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		a.writers.Go(func() {
			for !a.stopped.Load() {
				a.write(stream, r)
				time.Sleep(time.Duration(r.Int64N(int64(pace))))
			}
		})
	}
	return a, nil
}

func (a *randomProducer) write(stream int, r *rand.Rand) {
	ctx := context.Background()
	if r.IntN(10) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(50))*time.Millisecond)
		defer cancel()
	}
	kind := r.IntN(100)
	if kind < 19 {
		a.batch(ctx, stream, 1+r.IntN(10), r)
		return
	}
	k := a.book.issue(stream)
	body := k.body(r.IntN(300))
	switch {
	case kind < 30:
		delay := time.Duration(r.IntN(200)) * time.Millisecond
		a.persist(k, r.IntN(2) == 0, func() error { return a.PublishAfter(ctx, delay, body) })
	case kind < 40:
		a.writers.Add(1)
		err := a.PublishAsync(ctx, body, func(err error) {
			defer a.writers.Done()
			a.book.result(k, err)
		})
		if err != nil {
			a.writers.Done()
			a.book.result(k, err)
		}
	case kind < 99:
		a.persist(k, r.IntN(2) == 0, func() error { return a.Publish(ctx, body) })
	default:
		if err := a.Publish(ctx, k.body(soakConn.MaxMessageSize)); !errors.Is(err, nsqx.ErrRejected) {
			a.book.fault("a body above the limit: %v", err)
		} else {
			a.book.result(k, err)
		}
	}
}

func (a *randomProducer) batch(ctx context.Context, stream, n int, r *rand.Rand) {
	var keys []key
	var bodies []string
	for range n {
		k := a.book.issue(stream)
		keys, bodies = append(keys, k), append(bodies, k.body(r.IntN(300)))
	}
	confirmed, err := a.PublishAll(ctx, bodies)
	for i, k := range keys {
		if i < confirmed {
			a.book.result(k, nil)
		} else {
			a.book.result(k, err)
		}
	}
	if (err == nil) != (confirmed == n) {
		a.book.fault("PublishAll: %d of %d, %v", confirmed, n, err)
	}
}

func (a *randomProducer) burst(stream int, r *rand.Rand) {
	a.writers.Go(func() {
		for range 5 {
			a.batch(context.Background(), stream, 500, r)
		}
	})
}

// persist publishes until nsqd has confirmed or rejected the message. If need is false, an
// unconfirmed publish ends it too.
func (a *randomProducer) persist(k key, need bool, publish func() error) {
	for range 5 {
		err := publish()
		a.book.result(k, err)
		if err == nil || errors.Is(err, nsqx.ErrRejected) || errors.Is(err, nsqx.ErrUnconfirmed) && !need {
			return
		}
	}
}

func (a *randomProducer) stop() {
	a.stopped.Store(true)
	a.writers.Wait()
}
