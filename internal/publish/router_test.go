package publish

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/observe"
)

// send publishes one message, and returns the address asked last.
func (r *Router) send(ctx context.Context, prefer string) (asked string, err error) {
	pub := &conn.Pub{Topic: "orders", Bodies: [][]byte{[]byte("x")}}
	err = r.publishTo(ctx, pub, prefer, &asked)
	return asked, err
}

// TestPublishTo: which nsqds are asked, and the result, when some of them fail.
func TestPublishTo(t *testing.T) {
	const failed, refused = "E_PUB_FAILED PUB failed", "E_BAD_TOPIC PUB topic name"
	for name, tt := range map[string]struct {
		answers map[string]string
		again   bool
		prefer  string
		asked   []string // the last is the address that is returned
		kind    error
	}{
		"confirmed":             {nil, false, addrB, []string{addrB}, nil},
		"rejected":              {map[string]string{addrA: refused}, true, addrA, []string{addrA}, conn.ErrRejected},
		"failed, then another":  {map[string]string{addrA: failed}, false, addrA, []string{addrA, addrB}, nil},
		"unconfirmed":           {map[string]string{addrA: "cut"}, false, addrA, []string{addrA}, conn.ErrUnconfirmed},
		"unconfirmed, repeated": {map[string]string{addrA: "cut"}, true, addrA, []string{addrA, addrB}, nil},
		"failed, then rejected": {map[string]string{addrA: failed, addrB: refused}, false, addrA, []string{addrA, addrB}, conn.ErrRejected},
		"unconfirmed, rejected": {map[string]string{addrA: "cut", addrB: refused}, true, addrA, []string{addrA, addrB}, conn.ErrUnconfirmed},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			for addr, answer := range tt.answers {
				n.answer[addr] = answer
			}
			r := n.router(Config{Again: tt.again}, addrA, addrB)
			asked, err := r.send(t.Context(), tt.prefer)
			var want []string
			for _, addr := range tt.asked {
				want = append(want, addr+": x")
			}
			n.wantPublished(want...)
			check.Want(t, "asked", asked, tt.asked[len(tt.asked)-1])
			e := wantKind(t, err, tt.kind)
			if e != nil && name == "unconfirmed, rejected" {
				check.Want(t, "NSQD of the first failure", e.NSQD, addrA)
			}
			check.Want(t, "time", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), 0)
		})
	}
}

// TestPublishGivesUp: every nsqd accepts connections and fails the publish.
func TestPublishGivesUp(t *testing.T) {
	for wait, want := range map[time.Duration]struct{ asked, most int }{
		0:                {2, 2}, // then both wait before the next dial
		10 * time.Second: {4, 1000},
	} {
		check.Bubble(t, wait.String(), func(t *testing.T) {
			n := newNSQDs(t)
			n.answer[addrA], n.answer[addrB] = "E_PUB_FAILED PUB failed", "E_PUB_FAILED PUB failed"
			r := n.router(Config{WaitTimeout: wait}, addrA, addrB)
			start := time.Now()
			_, err := r.send(t.Context(), addrA)
			wantKind(t, err, conn.ErrNotSent)
			if asked := n.published.Len(); asked < want.asked || asked > want.most {
				t.Errorf("asked %d times, want %d to %d", asked, want.asked, want.most)
			}
			if took := time.Since(start); took < wait || took > wait+10*time.Second {
				t.Errorf("took %v, want %v", took, wait)
			}
		})
	}
}

// TestPublishWaits: without a connection, until there is one, the time is over, or ctx ends.
func TestPublishWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		wait, timeout, connected time.Duration // 0: never
		took                     time.Duration
		want                     error
	}{
		"nsqd comes":            {time.Minute, 0, 3 * time.Second, 3 * time.Second, nil},
		"time is over":          {time.Minute, 0, 0, time.Minute, observe.ErrNoNSQD},
		"no time":               {0, 0, 3 * time.Second, 3 * time.Second, nil}, // it is dialled: has not failed
		"ctx ends":              {time.Minute, 2 * time.Second, 0, 2 * time.Second, context.DeadlineExceeded},
		"ctx ends, no time":     {0, 2 * time.Second, 0, 2 * time.Second, errCause},
		"ctx ends, for a cause": {time.Minute, 2 * time.Second, 0, 2 * time.Second, errCause},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			release := n.hold(addrA)
			r := n.router(Config{WaitTimeout: tt.wait}, addrA)
			ctx, cancel := t.Context(), func() {}
			if tt.timeout > 0 {
				ctx, cancel = context.WithTimeoutCause(ctx, tt.timeout, errCause)
			}
			defer cancel()
			start := time.Now()
			if tt.connected > 0 {
				go func() {
					time.Sleep(tt.connected)
					release()
				}()
			} else {
				defer release()
			}
			_, err := r.send(ctx, "")
			check.Want(t, "time", time.Since(start), tt.took)
			if tt.want == nil {
				check.WantErr(t, "error", err, nil)
				return
			}
			wantKind(t, err, conn.ErrNotSent)
			check.WantErr(t, "error", err, tt.want)
		})
	}
}

// TestPublishDown: without a connection and without time, or with a lasting failure, it fails at once.
func TestPublishDown(t *testing.T) {
	for name, tt := range map[string]struct {
		wait   time.Duration
		refuse error
	}{
		"no time":         {0, errRefused},
		"lasting failure": {time.Minute, &conn.ConfigError{Field: "x", Reason: "y"}},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			n.refuse[addrA] = tt.refuse
			r := n.router(Config{WaitTimeout: tt.wait}, addrA)
			start := time.Now()
			_, err := r.send(t.Context(), "")
			wantKind(t, err, conn.ErrNotSent)
			check.WantErr(t, "error", err, observe.ErrNoNSQD)
			check.WantErr(t, "reason", err, tt.refuse)
			check.Want(t, "time", time.Since(start), 0)
		})
	}
}

// TestRouterCloses: publishes fail, at once or when their connections have ended.
func TestRouterCloses(t *testing.T) {
	for name, atOnce := range map[string]bool{"in order": false, "at once": true} {
		check.Bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			n.answer[addrA] = "hang"
			r := n.router(Config{WaitTimeout: time.Minute}, addrA)
			failed := make(chan error)
			go func() {
				_, err := r.send(context.Background(), "")
				failed <- err
			}()
			synctest.Wait()
			check.Want(t, "Unanswered", r.Unanswered(), 1)
			go r.Close(atOnce)
			wantKind(t, <-failed, conn.ErrUnconfirmed)
			r.Wait()
			_, err := r.send(t.Context(), "")
			wantKind(t, err, conn.ErrNotSent)
			check.WantErr(t, "error", err, ErrClosed)
			check.WantErr(t, "Await", r.Await(t.Context()), ErrClosed)
			check.WantErr(t, "Healthy", r.Healthy(), observe.ErrNotRunning)
			check.Want(t, "Unanswered", r.Unanswered(), 0)
		})
	}
}

func TestShouldRetry(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		past, cancel := context.WithDeadline(context.WithoutCancel(t.Context()), time.Now())
		defer cancel()
		later, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, tt := range []struct {
			ctx   context.Context
			err   error
			again bool
			want  bool
		}{
			{t.Context(), conn.ErrNotSent, false, true},
			{t.Context(), conn.ErrNotSent, true, true},
			{t.Context(), conn.ErrUnconfirmed, false, false},
			{t.Context(), conn.ErrUnconfirmed, true, true},
			{t.Context(), conn.ErrRejected, true, false},
			{later, conn.ErrNotSent, false, true},
			{ended, conn.ErrNotSent, true, false},
			{past, conn.ErrNotSent, true, false},
		} {
			r := &Router{cfg: Config{Again: tt.again}}
			err := &conn.PublishError{Kind: tt.err, Err: errCause}
			check.Want(t, fmt.Sprintf("%v, again %v", tt.err, tt.again), r.shouldRetry(tt.ctx, err), tt.want)
		}
	})
}

// TestRetriesExhausted: more failures than nsqds, and the time is over.
func TestRetriesExhausted(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		now := time.Now()
		for nsqds, addrs := range [][]string{nil, {addrA}, {addrA, addrB}} {
			r := newNSQDs(t).router(Config{}, addrs...)
			for failures := range 5 {
				for left, over := range map[time.Duration]bool{-1: true, 0: true, 1: false} {
					check.Want(t, fmt.Sprintf("%d failures of %d nsqds, %v left", failures, nsqds, left),
						r.retriesExhausted(failures, now.Add(left)), over && failures > nsqds)
				}
			}
		}
	})
}

// TestNotSent: an earlier failure decides on the kind.
func TestNotSent(t *testing.T) {
	pub := &conn.Pub{Topic: "orders"}
	e := wantKind(t, notSent(pub, nil, errCause), conn.ErrNotSent)
	check.Want(t, "topic", e.Topic, "orders")
	check.Want(t, "nsqd", e.NSQD, "")
	check.WantErr(t, "cause", e, errCause)

	earlier := &conn.PublishError{Kind: conn.ErrUnconfirmed, Topic: "orders", NSQD: addrA, Err: errRefused}
	e = wantKind(t, notSent(pub, earlier, errCause), conn.ErrUnconfirmed)
	check.Want(t, "nsqd", e.NSQD, addrA)
	check.WantErr(t, "cause", e, errCause)
	check.WantErr(t, "earlier cause", e, errRefused)
}

func TestEnded(t *testing.T) {
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errCause)
	check.WantErr(t, "Err", Ended(cancelled), context.Canceled)
	check.WantErr(t, "cause", Ended(cancelled), errCause)
	plain, stop := context.WithCancel(t.Context())
	stop()
	check.Want(t, "without a cause", Ended(plain), context.Canceled)
	wrapped, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("%w: %w", context.Canceled, errCause))
	check.WantErr(t, "cause that is the Err, too", Ended(wrapped), context.Canceled)
	check.Want(t, "not ended", Ended(t.Context()), nil)
}

// TestAwaitAndHealthy with an nsqd in each state.
func TestAwaitAndHealthy(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		n.refuse[addrA] = errRefused
		r := n.router(Config{}, addrA)
		check.WantErr(t, "Await, down", r.Await(t.Context()), errRefused)
		check.WantErr(t, "Healthy, down", r.Healthy(), errRefused)
		check.WantErr(t, "Healthy, down", r.Healthy(), observe.ErrNoNSQD)
		n.set(func() { delete(n.refuse, addrA) })
		release := n.hold(addrA)
		r.Redial(addrA)
		synctest.Wait()
		check.Want(t, "Healthy, dialled", r.Healthy(), observe.ErrNoNSQD)
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			release()
		}()
		check.WantErr(t, "Await, dialled", r.Await(t.Context()), nil)
		check.Want(t, "time", time.Since(start), time.Second)
		check.WantErr(t, "Healthy, connected", r.Healthy(), nil)
		check.WantErr(t, "Await, connected", r.Await(t.Context()), nil)

		r = n.router(Config{WaitTimeout: time.Second})
		err := r.Await(t.Context())
		check.Want(t, "Await, none known", errors.Is(err, observe.ErrNoNSQD), true)
		check.Want(t, "time", time.Since(start), 2*time.Second)
	})
}
