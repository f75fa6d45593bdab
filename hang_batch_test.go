package nsqx_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
)

// TestFinishedBeforeAHandlerHangs: messages that were taken together are answered together, but those that are finished do not wait
// for one that hangs, in the drain neither.
func TestFinishedBeforeAHandlerHangs(t *testing.T) {
	for name, then := range map[string]func(s *service){
		"and time goes by": func(*service) { time.Sleep(400 * time.Millisecond) },
		"and it is paused": func(s *service) { s.Pause() },
		"in the drain":     func(s *service) { s.cancel() },
	} {
		bubble(t, name, func(t *testing.T) { hangs(t, 4, 10, then) })
		bubble(t, name+", the last", func(t *testing.T) { hangs(t, 4, 4, then) })
	}
}

// hangs lets the handler of one message hang, of all that were taken.
func hangs(t *testing.T, which, all int, then func(s *service)) {
	d := newNSQDs(t)
	n, release := 0, make(chan struct{})
	s := d.run(func(context.Context, string) error {
		if n++; n == which {
			<-release
		}
		return nil
	}, nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(100))
	s.SetBatch(16)
	l := d.line(nsqd1)
	l.flood(1, all)
	synctest.Wait()
	then(s)
	synctest.Wait()
	l.wantCommands("FIN", "FIN 1, FIN 2, FIN 3")
	close(release)
	s.cancel()
	<-s.done
	want(t, "Run returned", s.err, nil)
	want(t, "finished", s.Stats().Finished >= uint64(which), true)
}

// TestFinishedNeverFalls: what a handler has finished, but nsqd was not told of before the connection was lost, has never counted as
// finished.
func TestFinishedNeverFalls(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		n, release := 0, make(chan struct{})
		s := d.run(func(context.Context, string) error {
			if n++; n == 4 {
				<-release
			}
			return nil
		}, nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(100))
		s.SetBatch(16)
		l := d.line(nsqd1)
		l.flood(1, 10)
		synctest.Wait()
		want(t, "results", s.Results(), 3)
		want(t, "finished, while nsqd does not know", s.Stats().Finished, 0)
		l.p.Conn.Close()
		time.Sleep(400 * time.Millisecond)
		st := s.Stats()
		want(t, "finished, when it is lost", st.Finished, 0)
		want(t, "lost", st.Lost, 9)
		want(t, "results, when it is lost", s.Results(), 3)
		close(release)
		s.cancel()
		<-s.done
		want(t, "lost, in the end", s.Stats().Lost, 10)
	})
}
