package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
)

// soon polls nsqlookupds as often as allowed.
var soon = nsqx.WithLookupInterval(100 * time.Millisecond)

// polled waits for n more polls of each source.
func polled(tb testing.TB, c interface{ Stats() nsqx.Stats }, n uint64) {
	tb.Helper()
	before := c.Stats().Lookups
	eventually(tb, func() bool {
		for i, l := range c.Stats().Lookups {
			if l.Polls < before[i].Polls+n {
				return false
			}
		}
		return true
	}, "%d polls", n)
}

func addresses(c interface{ Stats() nsqx.Stats }) (addrs []string) {
	for _, s := range c.Stats().Connections {
		addrs = append(addrs, s.Addr)
	}
	slices.Sort(addrs)
	return addrs
}

// lookupAnswer is an nsqlookupd with answers set by the test.
type lookupAnswer struct {
	*httptest.Server
	mu     sync.Mutex
	answer http.HandlerFunc
	polls  atomic.Int64
}

func startLookupAnswer(tb testing.TB, answer http.HandlerFunc) *lookupAnswer {
	l := &lookupAnswer{answer: answer}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.polls.Add(1)
		l.mu.Lock()
		answer := l.answer
		l.mu.Unlock()
		answer(w, r)
	}))
	tb.Cleanup(l.Close)
	return l
}

func (l *lookupAnswer) set(answer http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = answer
}

func naming(addrs ...string) http.HandlerFunc {
	var producers []string
	for _, addr := range addrs {
		host, port, _ := net.SplitHostPort(addr)
		producers = append(producers, fmt.Sprintf(`{"broadcast_address":%q,"tcp_port":%s}`, host, port))
	}
	return saying(http.StatusOK, `{"channels":[],"producers":[`+strings.Join(producers, ",")+`]}`)
}

func saying(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}
