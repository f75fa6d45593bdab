package test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// consume runs a consumer of orders/billing at servers, which check what it does, until stop or the end of the test.
func consume(t *testing.T, servers []*nsqxtest.Server, fn handler.Func[string], opts ...nsqx.ConsumerOption) (c *nsqx.Consumer[string], stop func()) {
	t.Helper()
	c = newConsumer(t, fn, append([]nsqx.ConsumerOption{nsqxtest.Option(servers...)}, opts...)...)
	stop = nsqxtest.Run(t, c)
	synctest.Wait()
	return c, stop
}

func newConsumer(t *testing.T, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	return makeConsumer(t, fn, append(opts, nsqx.WithLogger(discard))...)
}

func makeConsumer(t *testing.T, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), fn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// publish publishes n messages to orders.
func publish(s *nsqxtest.Server, n int) []handler.ID {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = []byte(strconv.Itoa(i))
	}
	return s.Publish("orders", bodies...)
}

// billing is the state of orders/billing.
func billing(s *nsqxtest.Server) nsqxtest.ChannelStats {
	synctest.Wait()
	return s.Stats("orders", "billing")
}

func finished(n int) func(nsqxtest.ChannelStats) bool {
	return func(st nsqxtest.ChannelStats) bool { return st.Finished >= n }
}

// rdy is the RDY of a server's only subscriber.
func rdy(t *testing.T, s *nsqxtest.Server) int {
	t.Helper()
	synctest.Wait()
	for _, c := range s.Conns() {
		if c.Topic() == "orders" {
			return c.RDY()
		}
	}
	t.Fatalf("%s: nobody is subscribed", s.Addr())
	return 0
}

// sleeper is a handler that takes d.
func sleeper(d time.Duration) handler.Func[string] {
	return func(context.Context, string) error {
		time.Sleep(d)
		return nil
	}
}

// waits is how long messages took from being published to their handlers.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) note(ctx context.Context) {
	d := time.Since(handler.FromContext(ctx).Timestamp())
	w.mu.Lock()
	w.all = append(w.all, d)
	w.mu.Unlock()
}

func (w *waits) most() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Max(w.all)
}

// TestQuietTopic: single messages reach the handler at once, although nsqd buffers for 250 ms what it sends to those that could
// take more.
func TestQuietTopic(t *testing.T) {
	for name, tt := range map[string]struct {
		opts     []nsqx.ConsumerOption
		handler  time.Duration
		min, max time.Duration // longest wait
	}{
		"defaults":                  {max: time.Millisecond},
		"slow handlers":             {opts: opts(nsqx.WithConcurrency(8)), handler: 100 * time.Millisecond, max: time.Millisecond},
		"large MaxInFlight":         {opts: opts(nsqx.WithMaxInFlight(2500)), max: time.Millisecond},
		"large and slow":            {opts: opts(nsqx.WithMaxInFlight(2500), nsqx.WithConcurrency(8)), handler: 100 * time.Millisecond, max: time.Millisecond},
		"fixed RDY":                 {opts: opts(nsqx.WithMaxInFlight(2500), nsqx.WithFixedRDY()), min: 230 * time.Millisecond, max: 250 * time.Millisecond},
		"fixed RDY, slow, as large": {opts: opts(nsqx.WithMaxInFlight(2500), nsqx.WithFixedRDY(), nsqx.WithConcurrency(8)), handler: 100 * time.Millisecond, min: 230 * time.Millisecond, max: 250 * time.Millisecond},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(2500, time.Millisecond))
			var w waits
			_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
				if body == "single" {
					w.note(ctx)
				}
				time.Sleep(tt.handler)
				return nil
			}, tt.opts...)
			for range 100 {
				s.Publish("orders", []byte("single"))
				time.Sleep(20 * time.Millisecond)
			}
			s.Await("orders", "billing", finished(100))
			if most := w.most(); most < tt.min || most > tt.max {
				t.Errorf("a message has waited %v, want between %v and %v", most, tt.min, tt.max)
			}
		})
	}
}

// TestPairs of messages, irregularly: the window opens now and then, and what nsqd then buffers comes after a poke.
func TestPairs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		random := rand.New(rand.NewPCG(1, 2))
		var w waits
		_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
			w.note(ctx)
			return nil
		}, nsqx.WithConcurrency(8))
		for range 1000 {
			publish(s, 1+random.IntN(20))
			time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond)
		}
		time.Sleep(time.Second)
		want(t, "in flight", billing(s).InFlight+billing(s).Depth, 0)
		if most := w.most(); most > 1200*time.Microsecond {
			t.Errorf("a message has waited %v, want a poke after 1 ms", most)
		}
	})
}

// TestBacklog opens the window up to MaxInFlight, and never beyond.
func TestBacklog(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(200, time.Millisecond))
		_, _ = consume(t, []*nsqxtest.Server{s}, sleeper(time.Millisecond), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(200))
		want(t, "RDY of a quiet topic", rdy(t, s), 1)
		publish(s, 5000)
		s.Await("orders", "billing", finished(1000))
		want(t, "RDY", rdy(t, s), 200)
		most := 0
		for _, cmd := range s.Commands("RDY") {
			n, _ := strconv.Atoi(cmd.Param(0))
			most = max(most, n)
		}
		want(t, "highest RDY", most, 200)
		s.Await("orders", "billing", finished(5000))
		time.Sleep(2 * time.Second)
		want(t, "RDY when it is quiet again", rdy(t, s), 1)
	})
}

// TestMaxRDY of an nsqd bounds what it is asked for: more is fatal (row F22).
func TestMaxRDY(t *testing.T) {
	for name, opt := range map[string]nsqx.ConsumerOption{"window": nil, "fixed RDY": nsqx.WithFixedRDY()} {
		bubble(t, name, func(t *testing.T) {
			servers := append(nsqxtest.NewServers(t, 1, nsqxtest.WithMaxRDY(10)), nsqxtest.NewServer(t, nsqxtest.WithAddr("other:4150")))
			_, _ = consume(t, servers, sleeper(100*time.Millisecond), nsqx.WithConcurrency(50), nsqx.WithMaxInFlight(100), opt)
			for _, s := range servers {
				publish(s, 1000)
			}
			time.Sleep(900 * time.Millisecond)
			want(t, "RDY", rdy(t, servers[0]), 10)
			want(t, "RDY of the other, which has the rest", rdy(t, servers[1]), 90)
			for _, s := range servers {
				want(t, "dials", s.Dials(), 1)
			}
		})
	}
}

// TestUnevenLoadWithCuts: whatever comes and goes, the sum of the RDYs is at most MaxInFlight, which the servers check, and
// everything is handled.
func TestUnevenLoadWithCuts(t *testing.T) {
	for seed := range uint64(6) {
		bubble(t, strconv.FormatUint(seed, 10), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			const most = 25
			servers := nsqxtest.NewServers(t, 2+int(seed), nsqxtest.WithMaxInFlightCheck(most, time.Millisecond),
				nsqxtest.WithMessageTimeout(2*time.Second), nsqxtest.WithPatience(time.Minute))
			c, _ := consume(t, servers, func(context.Context, string) error {
				time.Sleep(rand.N(60 * time.Millisecond))
				return nil
			}, nsqx.WithConcurrency(10), nsqx.WithMaxInFlight(most))
			published := make([]int, len(servers))
			for range 200 {
				i := min(random.IntN(len(servers)), random.IntN(len(servers)))
				s := servers[i]
				n := random.IntN(20)
				publish(s, n)
				published[i] += n
				switch random.IntN(20) {
				case 0:
					s.ResetConns()
				case 1:
					s.Disconnect()
				case 2:
					s.Refuse(true)
					s.Disconnect()
				default:
					s.Refuse(false)
				}
				time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
				if n := c.Stats().MaxInFlight; n > most {
					t.Errorf("max in flight is %d", n)
				}
			}
			for i, s := range servers {
				s.Refuse(false)
				s.Await("orders", "billing", finished(published[i]))
			}
		})
	}
}
