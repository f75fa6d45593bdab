package gonsq

import (
	"errors"
	"log"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/nsqxtest"
)

func TestLogger(t *testing.T) {
	j := newJournal("[orders/billing]")
	var all, errs lines
	j.SetLogger(&all, LogLevelInfo)
	j.SetLoggerForLevel(&errs, LogLevelError)
	j.SetLoggerForLevel(&errs, 17)
	j.SetLoggerForLevel(&errs, -1)
	l := j.slog().With("topic", "orders", "nsqd", "a:1")
	l.Debug("hidden")
	l.Info("said", "text", "a b", slog.Group("msg", "id", 7))
	l.Error("bad", "error", errors.New("no"))
	j.SetLoggerLevel(LogLevelDebug)
	l.Debug("shown")
	want(t, "all", strings.Join(all.get(), "\n"), "INF  [orders/billing] said nsqd=a:1 text=\"a b\" msg.id=7\nDBG  [orders/billing] shown nsqd=a:1")
	want(t, "errors", strings.Join(errs.get(), "\n"), "ERR  [orders/billing] bad nsqd=a:1 error=no")
	for _, nothing := range []logger{nil, (*log.Logger)(nil), panicky{}} {
		j.SetLogger(nothing, LogLevelDebug)
		l.Error("nobody hears")
	}
	j.SetLogger(&all, 99)
	l.Error("nobody hears")
	want(t, "all", len(all.get()), 2)
}

// panicky is a logger that panics.
type panicky struct{}

func (panicky) Output(int, string) error { panic("no") }

// TestConsumerLogs: the log has what nsqx says, and errors that are no answer.
func TestConsumerLogs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := testConsumer(t, s, func(cfg *Config) { cfg.MaxAttempts, cfg.DefaultRequeueDelay = 1, time.Second })
		var log lines
		c.SetLogger(&log, LogLevelInfo)
		connect(t, s, c, 1, func(m *Message) error {
			if m.Attempts == 1 {
				m.DisableAutoResponse()
				m.RequeueWithoutBackoff(0)
			}
			return errNo
		})
		s.Publish("orders", []byte("a"))
		s.Await("orders", "billing", finished(1))
		for _, text := range []string{"INF  [orders/billing] nsqx: connected", "ERR  [orders/billing] handler returned error", "WRN  [orders/billing] message given up"} {
			if !log.has(text) {
				t.Errorf("no %q in\n%s", text, strings.Join(log.get(), "\n"))
			}
		}
		t.Log(strings.Join(log.get(), "\n"))
	})
}
