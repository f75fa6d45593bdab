package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestQuotaFollowsDemand: a connection without messages gives its quota to busy ones, and gets it
// back when needed.
func TestQuotaFollowsDemand(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		bubble(t, strconv.Itoa(n), func(t *testing.T) {
			const most = 40
			servers := nsqxtest.NewServers(t, n, nsqxtest.WithMaxInFlightCheck(most, time.Millisecond))
			c, _ := consume(t, servers, sleeps(50*time.Millisecond, nil), nsqx.WithConcurrency(most), nsqx.WithMaxInFlight(most))
			quotas := func() (sum int) {
				for _, conn := range c.Stats().Connections {
					sum += conn.Quota
				}
				return sum
			}
			for i := range 4 * n {
				s := servers[i%n]
				publish(s, 1000)
				time.Sleep(300 * time.Millisecond)
				if got, least := billing(s).InFlight, most-2*(n-1); got < least {
					t.Errorf("%d in flight at the only busy one after 300 ms, want %d", got, least)
				}
				for _, other := range servers {
					if other != s && rdy(t, other) < 1 {
						t.Errorf("%s has RDY 0: a message there would wait", other.Addr())
					}
				}
				want(t, "sum of quotas", quotas() <= most, true)
				s.Await("orders", "billing", finished(1000*(1+i/n)))
			}

			for _, s := range servers { // all are busy and get the same
				publish(s, 1000)
			}
			time.Sleep(500 * time.Millisecond)
			for _, s := range servers {
				if got := billing(s).InFlight; got < most/n-2 || got > most/n+2 {
					t.Errorf("%d in flight at %s, want %d", got, s.Addr(), most/n)
				}
			}
			for _, s := range servers {
				s.Await("orders", "billing", finished(5000))
			}
		})
	}
}

// TestMaxRDY (row F22): no RDY exceeds nsqd's max-rdy-count, which would be fatal.
func TestMaxRDY(t *testing.T) {
	for name, opt := range map[string]nsqx.ConsumerOption{"window": nil, "fixed RDY": nsqx.WithFixedRDY()} {
		bubble(t, name, func(t *testing.T) {
			servers := append(nsqxtest.NewServers(t, 1, nsqxtest.WithMaxRDY(10)), nsqxtest.NewServer(t, nsqxtest.WithAddr("other:4150")))
			_, _ = consume(t, servers, sleeps(100*time.Millisecond, nil), nsqx.WithConcurrency(50), nsqx.WithMaxInFlight(100), opt)
			for _, s := range servers {
				publish(s, 1000)
			}
			time.Sleep(900 * time.Millisecond)
			want(t, "RDY", rdy(t, servers[0]), 10)
			want(t, "RDY of the other", rdy(t, servers[1]), 90)
			for _, s := range servers {
				want(t, "dials", s.Dials(), 1)
			}
		})
	}
}

// TestUnevenLoadWithCuts: whatever comes and goes, the RDYs add up to at most MaxInFlight, which
// the servers check, and every message is handled.
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

// TestQuotas: MaxInFlight is distributed over the connections, again whenever one comes or goes.
func TestQuotas(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2, nsqd3)
		d.greet = func(l *line) bool { // one after another
			time.Sleep(map[string]time.Duration{nsqd1: 1, nsqd2: 2, nsqd3: 3}[l.addr] * time.Millisecond)
			return true
		}
		s := d.run(done, nsqx.WithMaxInFlight(10), nsqx.WithFixedRDY())
		time.Sleep(time.Second)
		first, second, third := d.line(nsqd1), d.line(nsqd2), d.line(nsqd3)
		first.wantCommands("RDY", "RDY 10, RDY 5, RDY 4")
		second.wantCommands("RDY", "RDY 5, RDY 3")
		want(t, "RDY", third.lastRDY(), "RDY 3")
		first.p.Close()
		want(t, "RDY", second.lastRDY(), "RDY 5")
		want(t, "RDY", third.lastRDY(), "RDY 5")
		time.Sleep(time.Second)
		want(t, "RDY", d.line(nsqd1).lastRDY(), "RDY 4")
		want(t, "RDY", second.lastRDY(), "RDY 3")
		want(t, "RDY", third.lastRDY(), "RDY 3")
		total := 0
		for _, c := range s.Stats().Connections {
			want(t, "quota of "+c.Addr, c.Quota, c.RDY)
			total += c.RDY
		}
		want(t, "RDY in all", total, 10)
		s.wantStop(closeTime)
	})
}

// TestQuotasAndMaxRDY: quota above the max-rdy-count of one nsqd goes to the others. (An RDY above
// it is fatal.)
func TestQuotasAndMaxRDY(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		d.identify = map[string]any{"max_rdy_count": 30}
		s := d.run(done, nsqx.WithMaxInFlight(50), nsqx.WithConcurrency(1), nsqx.WithFixedRDY())
		for _, addr := range d.addrs {
			rdy := d.line(addr).commands("RDY")
			want(t, "last RDY", rdy[len(rdy)-1], "RDY 25")
		}
		d.line(nsqd1).p.Close()
		rdy := d.line(nsqd2).commands("RDY")
		want(t, "last RDY", rdy[len(rdy)-1], "RDY 30")
		s.wantStop(closeTime)
	})
}

// TestQuotaOfTheLastConnection: a connection that comes when all quota is assigned gets its part,
// although the one before it may still use more for a while, and although no message ever wakes
// control.
func TestQuotaOfTheLastConnection(t *testing.T) {
	for _, away := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 70 * time.Millisecond, 150 * time.Millisecond} {
		bubble(t, away.String(), func(t *testing.T) {
			first, last := nsqxtest.NewServer(t, nsqxtest.WithAddr(nsqd1)), nsqxtest.NewServer(t, nsqxtest.WithAddr(nsqd2))
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				s, away := first, away
				if addr == nsqd2 {
					s, away = last, 2*away+time.Millisecond
				}
				c, err := s.DialContext(ctx, network, addr)
				return slowConn{c, away}, err
			}
			c := newConsumer(t, sleeps(0, nil), nsqx.WithNSQD(nsqd1, nsqd2), nsqx.WithConn(conn.Config{DialContext: dial}),
				nsqx.WithFixedRDY(), nsqx.WithMaxInFlight(100))
			nsqxtest.Run(t, c)
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, s := range c.Stats().Connections {
				want(t, "quota of "+s.Addr, s.Quota, 50)
			}
		})
	}
}

// TestMoreServersThanMaxInFlight (row F25): the nsqds take turns, and none starves.
func TestMoreServersThanMaxInFlight(t *testing.T) {
	for _, tt := range []struct{ servers, most int }{{2, 1}, {3, 2}, {5, 1}, {5, 2}, {5, 4}, {12, 5}} {
		bubble(t, fmt.Sprintf("%d of %d", tt.most, tt.servers), func(t *testing.T) {
			most := tt.most
			servers := nsqxtest.NewServers(t, tt.servers, nsqxtest.WithMaxInFlightCheck(most, 10*time.Millisecond), nsqxtest.WithPatience(15*time.Second))
			for _, s := range servers { // latency, so that many RDYs take time
				s.On("RDY", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
					return nsqxtest.Proceed().After(time.Millisecond)
				})
			}
			start := time.Now()
			var handled synced[string]
			_, _ = consume(t, servers, func(ctx context.Context, _ string) error {
				time.Sleep(10 * time.Millisecond)
				handled.add(handler.FromContext(ctx).NSQD())
				return nil
			}, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(most))
			const n = 100
			for _, s := range servers {
				publish(s, n)
			}
			for _, s := range servers {
				s.Await("orders", "billing", finished(n))
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%d messages on each of %d servers took %v", n, tt.servers, took)
			}
			counts := make(map[string]int)
			for i, addr := range handled.all() {
				counts[addr]++
				if counts[addr] == n { // the first to finish: how far are the others?
					for _, s := range servers {
						if got := counts[s.Addr()]; got < n/2 {
							t.Errorf("%s has had %d when another one had %d, of %d", s.Addr(), got, n, i+1)
						}
					}
					break
				}
			}
			// While all are silent, each is asked once in half a second.
			count := func() (n int) {
				for _, s := range servers {
					n += len(s.Commands("RDY"))
				}
				return n
			}
			time.Sleep(5 * time.Second)
			before := count()
			time.Sleep(10 * time.Second)
			if n, bound := count()-before, 2*tt.servers*2*10+2*tt.servers; n > bound {
				t.Errorf("%d RDYs in 10 s without a message, want %d at most", n, bound)
			}

			// A single message at any nsqd is handled soon.
			for _, s := range servers {
				published := time.Now()
				publish(s, 1)
				s.Await("orders", "billing", finished(n+1))
				if took := time.Since(published); took > time.Second {
					t.Errorf("a message of %s took %v", s.Addr(), took)
				}
			}
		})
	}
}
