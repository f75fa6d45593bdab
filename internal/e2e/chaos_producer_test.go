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

// redirected dials elsewhere.
func redirected(to func(addr string) string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, to(addr))
	}
}

// author is a producer, with goroutines that publish in all the ways there are.
type author struct {
	*nsqx.Producer[string]
	book    *account
	stopped atomic.Bool
	writers sync.WaitGroup
}

// pace is how long a goroutine waits at most between two publishes.
const pace = 8 * time.Millisecond

// startAuthor makes a producer, whose goroutines have the lanes from first on.
func startAuthor(book *account, random *rand.Rand, first, lanes int, opts ...nsqx.ProducerOption) (*author, error) {
	p, err := nsqx.NewProducer(topic, codec.String(), append(opts, nsqx.WithPublishTimeout(time.Second))...)
	if err != nil {
		return nil, err
	}
	a := &author{Producer: p, book: book}
	for lane := first; lane < first+lanes; lane++ {
		r := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		a.writers.Go(func() {
			for !a.stopped.Load() {
				a.write(lane, r)
				time.Sleep(time.Duration(r.Int64N(int64(pace))))
			}
		})
	}
	return a, nil
}

// write publishes something, in one way or another.
func (a *author) write(lane int, r *rand.Rand) {
	ctx := context.Background()
	if r.IntN(10) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(50))*time.Millisecond)
		defer cancel()
	}
	way := r.IntN(100)
	if way < 19 {
		a.batch(ctx, lane, 1+r.IntN(10), r)
		return
	}
	k := a.book.issue(lane)
	body := k.body(r.IntN(300))
	switch {
	case way < 30:
		delay := time.Duration(r.IntN(200)) * time.Millisecond
		a.persist(k, r.IntN(2) == 0, func() error { return a.PublishAfter(ctx, delay, body) })
	case way < 40:
		a.writers.Add(1)
		err := a.PublishAsync(ctx, body, func(err error) {
			defer a.writers.Done()
			a.book.result(k, err)
		})
		if err != nil {
			a.writers.Done()
			a.book.result(k, err)
		}
	case way < 99:
		a.persist(k, r.IntN(2) == 0, func() error { return a.Publish(ctx, body) })
	default:
		if err := a.Publish(ctx, k.body(soakConn.MaxMessageSize)); !errors.Is(err, nsqx.ErrRejected) {
			a.book.fault("a body above the limit: %v", err)
		} else {
			a.book.result(k, err)
		}
	}
}

// batch publishes n messages at once.
func (a *author) batch(ctx context.Context, lane, n int, r *rand.Rand) {
	var keys []key
	var bodies []string
	for range n {
		k := a.book.issue(lane)
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

// burst publishes a backlog, beside all else.
func (a *author) burst(lane int, r *rand.Rand) {
	a.writers.Go(func() {
		for range 5 {
			a.batch(context.Background(), lane, 500, r)
		}
	})
}

// persist publishes until it is known to be there, or, if it need not be, until nobody knows.
func (a *author) persist(k key, need bool, publish func() error) {
	for range 5 {
		err := publish()
		a.book.result(k, err)
		if err == nil || errors.Is(err, nsqx.ErrRejected) || errors.Is(err, nsqx.ErrUnconfirmed) && !need {
			return
		}
	}
}

// stop waits until all publishes have ended.
func (a *author) stop() {
	a.stopped.Store(true)
	a.writers.Wait()
}
