package test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestReadyBesideADeadNSQD (row G8): one nsqd of five that is dead, or frozen, delays Ready until its
// first dial has failed, and nothing else.
func TestReadyBesideADeadNSQD(t *testing.T) {
	for name, delay := range map[string]time.Duration{"dead": 0, "frozen": 10 * time.Second} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServers(t, 5)
			l, opt := newLookupds(1)
			for _, s := range s {
				l[0].nsqds = append(l[0].nsqds, s.Addr())
			}
			l[0].set(l[0].nsqds...)
			if name == "dead" {
				s[3].Refuse(true)
			} else {
				s[3].On("IDENTIFY", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.Drop() })
			}
			c := newConsumer(t, done, opt, dialOnly(s))
			nsqxtest.Run(t, c)
			synctest.Wait()
			for i, s := range s {
				if i != 3 {
					publish(s, 1)
					s.Await("orders", "billing", finished(1))
				}
			}
			if delay > 0 {
				wantReady(t, c, false, nil)
				time.Sleep(delay)
			}
			wantReady(t, c, true, nil)
		})
	}
}

// TestNotReadyWithoutNSQD: Ready waits for one of the nsqds that are named.
func TestNotReadyWithoutNSQD(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		away(true, s...)
		c, _ := consume(t, s, done)
		time.Sleep(time.Hour)
		wantReady(t, c, false, nsqx.ErrNoNSQD)
		away(false, s[1])
		time.Sleep(10 * time.Second)
		wantReady(t, c, true, nil)
	})
}

// TestHealthyBoundsReasons: the error of Healthy does not grow with the number of nsqds.
func TestHealthyBoundsReasons(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 20)
		away(true, s...)
		f := newFinder()
		f.set(errors.New("no answer"))
		var addrs []string
		for _, s := range s {
			addrs = append(addrs, s.Addr())
		}
		c := discover(t, s, nsqx.WithNSQD(addrs...), nsqx.WithDiscoverer(f))
		err := c.Healthy()
		wantErr(t, "health", err, nsqx.ErrNoNSQD)
		text := err.Error()
		want(t, "reasons", strings.Count(text, syscall.ECONNREFUSED.Error()), 8)
		if !strings.Contains(text, "and 12 more") || !strings.Contains(text, "no answer") {
			t.Errorf("health %q", text)
		}
	})
}

// TestLive: Live fails only while a restart would help.
func TestLive(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1, nsqxtest.WithMessageTimeout(time.Minute))
		release := make(chan struct{})
		c := newConsumer(t, func(context.Context, string) error { <-release; return nil },
			nsqxtest.Option(s...), nsqx.WithConcurrency(3), nsqx.WithShutdownTimeout(time.Minute))
		live := func(what string, want error) {
			t.Helper()
			synctest.Wait()
			if err := c.Live(); !errors.Is(err, want) {
				t.Errorf("%s: live %v, want %v", what, err, want)
			}
		}
		live("before Run", nil)
		stop := nsqxtest.Run(t, c)
		publish(s[0], 2)
		synctest.Wait()
		s[0].Refuse(true)
		s[0].Disconnect()
		live("all nsqds away", nil)
		wantErr(t, "health", c.Healthy(), nsqx.ErrNoNSQD)
		time.Sleep(5 * time.Minute)
		live("one worker is free", nil)
		s[0].Refuse(false)
		time.Sleep(30 * time.Second)
		live("it has a message in time", nil)
		s[0].Refuse(true)
		s[0].Disconnect()
		time.Sleep(5 * time.Minute)
		live("all hold messages of lost connections beyond their time", nsqx.ErrStuck)
		wantErr(t, "health", c.Healthy(), nsqx.ErrStuck)
		if err := c.SetConcurrency(4); err != nil {
			t.Fatal(err)
		}
		live("a worker is free", nil)
		if err := c.SetConcurrency(3); err != nil {
			t.Fatal(err)
		}
		live("as before", nsqx.ErrStuck)

		ended := make(chan struct{})
		go func() {
			defer close(ended)
			stop()
		}()
		live("during the drain", nil)
		close(release)
		<-ended
		live("after Run", nsqx.ErrNotRunning)
		wantErr(t, "second Run", c.Run(t.Context()), nsqx.ErrAlreadyRun)
		live("after a second Run", nsqx.ErrNotRunning)
	})
}

// TestRedriveBesideADeadNSQD (row G8): Redrive does the work of those that it can reach, and names the
// other one.
func TestRedriveBesideADeadNSQD(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		s[1].Refuse(true)
		s[0].PublishMessage("dead", []byte("x"))
		time.Sleep(time.Second)
		began := time.Now()
		report, err := nsqx.Redrive(t.Context(), "dead", "elsewhere", nsqxtest.Option(s...), nsqx.WithLogger(discard))
		if _, ok := errors.AsType[*nsqx.RedriveIncompleteError](err); !ok || !strings.Contains(err.Error(), s[1].Addr()) {
			t.Errorf("error is %v", err)
		}
		want(t, "report", report, nsqx.RedriveReport{Redriven: 1})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
