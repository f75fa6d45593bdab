package test

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestReadyStatic: with addresses only, Ready waits until each was tried and one is subscribed;
// Healthy needs one.
func TestReadyStatic(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		s[1].Refuse(true)
		s[0].On("SUB", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Proceed().After(time.Second)
		})
		c := newConsumer(t, done, nsqxtest.Option(s...))
		wantReady(t, c, false, nsqx.ErrNotRunning)
		stop := nsqxtest.Run(t, c)
		wantReady(t, c, false, nsqx.ErrNoNSQD)
		wantErr(t, "the reason", c.Healthy(), syscall.ECONNREFUSED)
		time.Sleep(2 * time.Second)
		wantReady(t, c, true, nil) // one connection is enough

		for _, s := range s { // once ready, always
			s.Refuse(true)
			s.Disconnect()
		}
		wantReady(t, c, true, nsqx.ErrNoNSQD)
		for _, s := range s {
			s.Refuse(false)
		}
		time.Sleep(12 * time.Second)
		wantReady(t, c, true, nil)
		want(t, "connected", addrs(c), "nsqd-1 nsqd-2")
		stop()
		wantReady(t, c, true, nsqx.ErrNotRunning)
	})
}

// TestReadyDiscovered: Ready waits for an answer of the source, and until the nsqds that it names were
// tried.
func TestReadyDiscovered(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		s[1].Refuse(true)
		f := newFinder(s[0].Addr(), s[1].Addr())
		f.act = takes(3 * time.Second)
		c := newConsumer(t, done, dialOnly(s), nsqx.WithDiscoverer(f), nsqx.WithLookupInterval(time.Second))
		wantReady(t, c, false, nsqx.ErrNotRunning)
		nsqxtest.Run(t, c)
		wantReady(t, c, false, nsqx.ErrNoNSQD)
		time.Sleep(2 * time.Second)
		wantReady(t, c, false, nsqx.ErrNoNSQD)
		time.Sleep(2 * time.Second)
		wantReady(t, c, true, nil) // one is down
	})
}

// TestReadyWithoutTopic: a consumer of a topic that does not exist yet is ready.
func TestReadyWithoutTopic(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		f := newFinder()
		c := discover(t, s, nsqx.WithDiscoverer(f))
		wantReady(t, c, true, nil)
		f.set(errors.New("lookup is down"))
		f.waitPolls(2)
		wantReady(t, c, true, nsqx.ErrNoNSQD)
		f.set(nil, s[0].Addr())
		f.waitPolls(1)
		wantReady(t, c, true, nil)
		want(t, "connected", addrs(c), "nsqd-1")
		s[0].Refuse(true)
		s[0].Disconnect()
		wantReady(t, c, true, nsqx.ErrNoNSQD)
	})
}

// TestReadySources: Ready waits until all sources were asked and one has answered.
func TestReadySources(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		failure := errors.New("lookup is down")
		a, b := newFinder(), newFinder()
		a.set(failure)
		b.set(failure)
		b.act = takes(2 * time.Second)
		c := discover(t, s, nsqx.WithNSQD(s[0].Addr()), nsqx.WithDiscoverer(a, b))
		wantReady(t, c, false, nil)
		time.Sleep(3 * time.Second)
		wantReady(t, c, false, nil) // both have failed
		a.set(nil)
		a.waitPolls(1)
		wantReady(t, c, true, nil)
	})
}

// TestReadyFailingSource: a consumer whose only source fails is not ready.
func TestReadyFailingSource(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f := newFinder()
		f.set(errors.New("lookup is down"))
		c := discover(t, nil, nsqx.WithDiscoverer(f))
		wantReady(t, c, false, nsqx.ErrNoNSQD)
		time.Sleep(time.Hour)
		wantReady(t, c, false, nsqx.ErrNoNSQD)
	})
}

// TestHealthyDuringShutdown: Healthy fails from the start of the shutdown.
func TestHealthyDuringShutdown(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		c, stop := consume(t, s, sleeps(5*time.Second, nil))
		publish(s[0], 1)
		synctest.Wait()
		wantErr(t, "health", c.Healthy(), nil)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			stop()
		}()
		wantReady(t, c, true, nsqx.ErrNotRunning)
		time.Sleep(time.Second)
		wantReady(t, c, true, nsqx.ErrNotRunning)
		<-ended
		wantReady(t, c, true, nsqx.ErrNotRunning)
		want(t, "finished", billing(s[0]).Finished, 1)
	})
}
