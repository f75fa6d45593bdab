package conn_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/wire"
)

// Tests of pubs.go.

// TestSinglePublish checks that a single publish is a PUB in its own write, sent immediately.
func TestSinglePublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		for range 3 {
			result := s.publish(t.Context(), "body")
			s.wantWritten("PUB orders\n\x00\x00\x00\x04body")
			s.p.Response("OK")
			wantResult(t, result, nil)
		}
		if time.Since(s.start) != 0 {
			t.Error("it has waited")
		}
	})
}

// TestPublishesShareWrite checks that publishes during a write go out with the next one, one MPUB a
// topic, and that the OK of its command confirms each.
func TestPublishesShareWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		open := s.tap.holdWrites()
		var results []<-chan error
		for _, to := range []string{"orders 0", "orders a", "mail x", "orders b", "single s", "mail y", "orders c"} {
			topic, body, _ := strings.Cut(to, " ")
			results = append(results, s.publishTo(t.Context(), topic, body))
		}
		if n := s.Unanswered(); n != 7 {
			t.Errorf("%d unanswered, want 7", n)
		}
		open()
		synctest.Wait()
		writes := s.tap.written()
		want := wire.AppendMPUB(nil, "orders", [][]byte{[]byte("a"), []byte("b"), []byte("c")})
		want = wire.AppendMPUB(want, "mail", [][]byte{[]byte("x"), []byte("y")})
		want = wire.AppendPUB(want, "single", []byte("s"))
		if len(writes) != 2 || writes[0] != string(wire.AppendPUB(nil, "orders", []byte("0"))) || writes[1] != string(want) {
			t.Errorf("wrote %q", writes)
		}
		confirmed := 0
		for _, by := range [][]int{{0}, {1, 3, 6}, {2, 5}, {4}} { // in the order of the commands
			wantPending(t, results[by[0]])
			s.p.Response("OK")
			for _, i := range by {
				wantResult(t, results[i], nil)
			}
			confirmed += len(by)
			if got := s.Stats().Published; got != uint64(confirmed) || s.Unanswered() != 7-confirmed {
				t.Errorf("%d published, %d unanswered, want %d and %d", got, s.Unanswered(), confirmed, 7-confirmed)
			}
		}
	})
}

func TestPublishDelay(t *testing.T) {
	for _, c := range []struct {
		delay time.Duration
		want  string // "": rejected
	}{
		{0, "PUB orders x"},
		{1, "DPUB orders 1 x"},
		{time.Millisecond, "DPUB orders 1 x"},
		{time.Millisecond + 1, "DPUB orders 2 x"},
		{1500 * time.Millisecond, "DPUB orders 1500 x"},
		{time.Minute - 1, "DPUB orders 60000 x"},
		{time.Minute, "DPUB orders 60000 x"},
		{time.Minute + 1, ""},
		{-1, ""},
		{-time.Hour, ""},
		{1<<63 - 1, ""},
		{-1 << 63, ""},
	} {
		bubbles(t, c.delay.String(), func(t *testing.T) {
			s := publishing(t, conn.Config{MaxDelay: time.Minute})
			p := pub("orders", "x")
			p.Delay = c.delay
			result := s.send(t.Context(), p)
			if c.want == "" {
				wantResult(t, result, conn.ErrRejected)
				s.wantPublished()
				return
			}
			s.wantPublished(c.want)
			s.p.Response("OK")
			wantResult(t, result, nil)
		})
	}
}

// TestPublishAlone checks that delayed messages, messages with Alone and multiple messages are not
// combined with others.
func TestPublishAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		open := s.tap.holdWrites()
		delayed, alone := pub("orders", "delayed"), pub("orders", "alone")
		delayed.Delay, alone.Alone = time.Second, true
		together := &conn.Pub{Topic: "orders", Bodies: [][]byte{[]byte("t1"), []byte("t2")}}
		for _, p := range []*conn.Pub{pub("orders", "0"), alone, together, delayed, pub("orders", "a"), alone, together, delayed, pub("orders", "b")} {
			s.send(t.Context(), p)
		}
		open()
		s.wantPublished("PUB orders 0", "PUB orders alone", "MPUB orders t1 t2", "DPUB orders 1000 delayed", "MPUB orders a b",
			"PUB orders alone", "MPUB orders t1 t2", "DPUB orders 1000 delayed")
	})
}

// TestPublishDelayOfSeveral checks that several messages with a delay are rejected: nsqd has no
// such command.
func TestPublishDelayOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		for _, bodies := range [][][]byte{nil, {[]byte("a"), []byte("b")}} {
			wantIs(t, s.Publish(t.Context(), &conn.Pub{Topic: "orders", Bodies: bodies, Delay: time.Second}), conn.ErrRejected)
		}
		s.wantPublished()
	})
}

// TestSharedMPUBSize checks that an MPUB of several callers stays small, and within nsqd's limit.
func TestSharedMPUBSize(t *testing.T) {
	const common = 256 << 10
	for name, c := range map[string]struct {
		cfg  conn.Config
		size int
		want []int // messages in each command
	}{
		"small ones":                {conn.Config{}, 20_000, []int{1, 13, 13, 4}},
		"as large as it may be":     {conn.Config{}, common/2 - 4 - 2, []int{1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}},
		"a byte too large for two":  {conn.Config{}, common/2 - 4 - 1, slices.Repeat([]int{1}, 31)},
		"larger than that":          {conn.Config{}, common * 2, slices.Repeat([]int{1}, 31)},
		"nsqd takes ten of these":   {conn.Config{MaxBodySize: 4 + 10*104}, 100, []int{1, 10, 10, 10}},
		"nsqd takes hardly ten":     {conn.Config{MaxBodySize: 4 + 10*104 - 1}, 100, []int{1, 9, 9, 9, 3}},
		"nsqd's MPUB takes not one": {conn.Config{MaxBodySize: 1}, 100, slices.Repeat([]int{1}, 31)},
	} {
		bubbles(t, name, func(t *testing.T) {
			s := publishing(t, c.cfg)
			open := s.tap.holdWrites()
			var results []<-chan error
			for range 31 {
				results = append(results, s.publish(t.Context(), strings.Repeat("x", c.size)))
			}
			open()
			var got []int
			for n := 0; n < 31; {
				cmd, err := s.p.Next()
				if err != nil {
					t.Fatal(err)
				}
				most := common
				if c.cfg.MaxBodySize != 0 {
					most = c.cfg.MaxBodySize
				}
				if cmd.Name == "MPUB" && len(cmd.Body) > most {
					t.Errorf("an MPUB of %d bytes", len(cmd.Body))
				}
				got = append(got, len(bodies(cmd)))
				n += len(bodies(cmd))
				s.p.Response("OK")
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("messages in the commands: %v, want %v", got, c.want)
			}
			for _, result := range results {
				wantResult(t, result, nil)
			}
		})
	}
}

// TestPublishLimits checks that a publish above nsqd's limits is rejected, not split.
func TestPublishLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{MaxMessageSize: 10, MaxBodySize: 32})
		three := [][]byte{make([]byte, 5), make([]byte, 5), make([]byte, 6)} // 4 + 3*4 + 16
		result := s.send(t.Context(), &conn.Pub{Topic: "orders", Bodies: three})
		s.p.Expect("MPUB")
		s.p.Response("OK")
		wantResult(t, result, nil)
		for _, bodies := range [][][]byte{append(slices.Clone(three), []byte("x")), {{}, []byte("x")}, {[]byte("x"), make([]byte, 11)}, {}} {
			err := s.Publish(t.Context(), &conn.Pub{Topic: "orders", Bodies: bodies})
			if !isErr[*wire.BodyError](err) {
				t.Errorf("Publish returned %v, want a *BodyError", err)
			}
			wantIs(t, err, conn.ErrRejected)
		}
		s.wantPublished()
	})
}

// TestBodyIsNotRetained checks that a body is not used after Publish returns, sent or not.
func TestBodyIsNotRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		open := s.tap.holdWrites()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.publish(t.Context(), "0") // blocks the write loop
		body := []byte("mine")
		wantIs(t, s.Publish(ctx, &conn.Pub{Topic: "orders", Bodies: [][]byte{body}}), context.DeadlineExceeded)
		copy(body, "XXXX")
		open()
		s.wantPublished("PUB orders 0", "PUB orders mine")
	})
}

func TestReusedBuffersAreIntact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{})
		for round := range 20 { // reuses all memory
			open := s.tap.holdWrites()
			var want []string
			var results []<-chan error
			for i := range 30 {
				body := bytes.Repeat(fmt.Appendf(nil, "%d-%d.", round, i), 1+i*round)
				want = append(want, string(body))
				results = append(results, s.publish(t.Context(), string(body)))
			}
			open()
			var got []string
			for len(got) < 30 {
				cmd, err := s.p.Next()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, bodies(cmd)...)
				s.p.Response("OK")
			}
			if !slices.Equal(got, want) {
				t.Errorf("round %d: bodies have changed", round)
			}
			for _, result := range results {
				wantResult(t, result, nil)
			}
		}
	})
}
