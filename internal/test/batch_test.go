package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// batches records what a handler of batches gets.
type batches struct {
	synced[[]string]
	handle func(ctx context.Context, b *handler.Batch[string]) error // nil: success
}

func (b *batches) fn(ctx context.Context, x *handler.Batch[string]) error {
	b.add(slices.Clone(x.Values()))
	if b.handle != nil {
		return b.handle(ctx, x)
	}
	return nil
}

// sizes are the sizes of the batches so far.
func (b *batches) sizes() string {
	var s []string
	for _, values := range b.all() {
		s = append(s, fmt.Sprint(len(values)))
	}
	return strings.Join(s, " ")
}

func (b *batches) consumer(t testing.TB, opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	c, err := nsqx.NewBatchConsumer("orders", "billing", codec.String(), b.fn, append(opts, nsqx.WithLogger(discard))...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sendNumbers publishes n messages whose bodies count from first.
func sendNumbers(s *nsqxtest.Server, first, n int) {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = fmt.Append(nil, first+i)
	}
	s.Publish("orders", bodies...)
}

func settled(n int) func(nsqxtest.ChannelStats) bool {
	return func(s nsqxtest.ChannelStats) bool { return s.Finished == n && s.InFlight == 0 }
}

// TestBatchComplete: when a batch is passed to its handler.
func TestBatchComplete(t *testing.T) {
	for name, tt := range map[string]struct {
		opts    []nsqx.ConsumerOption
		server  []nsqxtest.ServerOption
		publish int
		takes   time.Duration
		after   time.Duration // from the publish until all is handled, at least
		before  time.Duration // at most
		want    string
	}{
		"full":                     {opts: opts(nsqx.WithBatch(5, time.Minute)), publish: 15, want: "5 5 5", before: time.Second},
		"wait is over":             {opts: opts(nsqx.WithBatch(500, time.Second)), publish: 7, want: "7", after: time.Second, before: 1100 * time.Millisecond},
		"all that may be":          {opts: opts(nsqx.WithBatch(20, time.Minute)), server: []nsqxtest.ServerOption{nsqxtest.WithMaxRDY(8)}, publish: 16, want: "8 8", before: 5 * time.Second},
		"half of the timeout":      {opts: opts(nsqx.WithBatch(500, 9*time.Second), nsqx.WithMessageTimeout(10*time.Second)), publish: 3, want: "3", after: 4 * time.Second, before: 5500 * time.Millisecond},
		"the rest waits its time":  {opts: opts(nsqx.WithBatch(5, time.Second)), publish: 12, want: "5 5 2", after: time.Second, before: 1500 * time.Millisecond},
		"waited while it was busy": {opts: opts(nsqx.WithBatch(5, time.Second)), publish: 7, takes: 3 * time.Second, want: "5 2", after: 3 * time.Second, before: 7500 * time.Millisecond},
		"defaults":                 {publish: 250, want: "100 100 50", after: 100 * time.Millisecond, before: 400 * time.Millisecond},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, tt.server...)
			b := &batches{handle: func(context.Context, *handler.Batch[string]) error {
				time.Sleep(tt.takes)
				return nil
			}}
			nsqxtest.Run(t, b.consumer(t, append(tt.opts, s.Option())...))
			time.Sleep(time.Minute)
			start := time.Now()
			sendNumbers(s, 1, tt.publish)
			s.Await("orders", "billing", settled(tt.publish))
			if took := time.Since(start); took < tt.after || took > tt.before {
				t.Errorf("took %v, want %v to %v", took, tt.after, tt.before)
			}
			want(t, "sizes", b.sizes(), tt.want)
			want(t, "attempts", s.Stats("orders", "billing").Requeued, 0)
		})
	}
}

// TestBatchOrder: with one batch at a time messages come in the order of arrival.
func TestBatchOrder(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		b := &batches{}
		nsqxtest.Run(t, b.consumer(t, nsqx.WithBatch(7, 50*time.Millisecond), s.Option()))
		for i := range 40 {
			sendNumbers(s, i*10, 10)
			time.Sleep(time.Duration(i%5) * 20 * time.Millisecond)
		}
		s.Await("orders", "billing", settled(400))
		next := 0
		for _, values := range b.all() {
			for _, v := range values {
				if want := fmt.Sprint(next); v != want {
					t.Fatalf("got %s, want %s", v, want)
				}
				next++
			}
		}
	})
}

// TestBatchOutcomes: each item has its own outcome, or the result of the handler.
func TestBatchOutcomes(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		kept := 0
		b := &batches{handle: func(ctx context.Context, b *handler.Batch[string]) error {
			for i, item := range b.All() {
				if item.Message.Attempts > 1 {
					continue
				}
				switch item.Value {
				case "2":
					_ = b.Fail(i, retry.Permanent(errBill))
				case "3":
					_ = b.Fail(i, retry.After(5*time.Second, nil))
				case "4":
					_ = b.Fail(i, errBill)
				case "5":
					_ = b.Fail(i, retry.Drop(errBill))
				case "6":
					wantErr(t, "Fail without an error", b.Fail(i, nil), handler.ErrNilFailure)
				case "7":
					_ = b.Fail(i, retry.Permanent(errBill))
					_ = b.Fail(i, retry.After(7*time.Second, errBill))
				}
			}
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(8, time.Second), s.Option(), nsqx.WithRetry(retry.Schedule(3*time.Second)),
			nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error {
				kept++
				return nil
			}))
		nsqxtest.Run(t, c)
		sendNumbers(s, 1, 8)
		s.Await("orders", "billing", settled(8))
		want(t, "kept", kept, 1)
		delays := map[string]string{}
		for _, r := range s.Requeues("orders", "billing") {
			delays[r.ID.String()[15:]] = r.Delay.String()
		}
		want(t, "delays", fmt.Sprint(delays), "map[3:5s 4:3s 6:3s 7:7s]")
		st := c.Stats()
		want(t, "finished", st.Finished, 6)
		want(t, "dead", st.DeadLettered, 1)
		want(t, "dropped", st.Dropped, 1)
		want(t, "requeued", st.Requeued, 4)
	})
}

// TestBatchFails: an error, a panic and runtime.Goexit are the answer of all that have none.
func TestBatchFails(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error":        func() error { return errBill },
		"panic":        func() error { panic("bill") },
		"Goexit":       func() error { runtime.Goexit(); return nil },
		"out of range": nil,
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
			b := &batches{handle: func(ctx context.Context, b *handler.Batch[string]) error {
				if b.Item(0).Message.Attempts > 1 {
					return nil
				}
				_ = b.Fail(0, retry.Drop(errBill))
				if fail == nil {
					_ = b.Fail(b.Len(), errBill)
				}
				return fail()
			}}
			c := b.consumer(t, nsqx.WithBatch(4, time.Second), s.Option(), nsqx.WithRetry(retry.Schedule(3*time.Second)))
			nsqxtest.Run(t, c)
			sendNumbers(s, 1, 4)
			s.Await("orders", "billing", settled(4))
			want(t, "sizes", b.sizes(), "4 3")
			want(t, "dropped", c.Stats().Dropped, 1)
			want(t, "requeued", c.Stats().Requeued, 3)
		})
	}
}

// TestBatchDecode: a message that does not decode takes its own way.
func TestBatchDecode(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		var sizes []int
		var kept atomic.Int64 // dead letters of a batch are kept at the same time
		c, err := nsqx.NewBatchConsumer("orders", "billing", codec.JSON[int](), func(_ context.Context, b *handler.Batch[int]) error {
			sizes = append(sizes, b.Len())
			return nil
		}, nsqx.WithBatch(4, time.Second), s.Option(), nsqx.WithLogger(discard),
			nsqx.WithDeadLetterFunc(func(_ context.Context, m *handler.Message, err error) error {
				if _, ok := errors.AsType[*handler.DecodeError](err); !ok {
					t.Errorf("dead letter because of %v", err)
				}
				kept.Add(1)
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		nsqxtest.Run(t, c)
		s.Publish("orders", []byte("1"), []byte("x"), []byte("3"), []byte("4"))
		s.Publish("orders", []byte("y"), []byte("y"), []byte("y"), []byte("y"))
		s.Await("orders", "billing", settled(8))
		want(t, "sizes", fmt.Sprint(sizes), "[3]")
		want(t, "kept", kept.Load(), 5)
	})
}

// exiting is a codec whose Decode calls runtime.Goexit for "x".
type exiting struct{ codec.Codec[string] }

func (c exiting) Decode(body []byte) (string, error) {
	if string(body) == "x" {
		runtime.Goexit()
	}
	return c.Codec.Decode(body)
}

// TestBatchDecodeExits: a message whose codec calls Goexit takes its own way, too: others pay nothing.
func TestBatchDecodeExits(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		var got []string
		var kept atomic.Int64
		c, err := nsqx.NewBatchConsumer("orders", "billing", exiting{codec.String()}, func(_ context.Context, b *handler.Batch[string]) error {
			got = append(got, strings.Join(b.Values(), " "))
			return nil
		}, nsqx.WithBatch(6, time.Second), s.Option(), nsqx.WithLogger(discard),
			nsqx.WithDeadLetterFunc(func(_ context.Context, m *handler.Message, err error) error {
				if _, ok := errors.AsType[*handler.DecodeError](err); !ok || m.Attempts != 1 {
					t.Errorf("dead letter after %d attempts because of %v", m.Attempts, err)
				}
				kept.Add(1)
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		nsqxtest.Run(t, c)
		s.Publish("orders", []byte("x"), []byte("1"), []byte("x"), []byte("x"), []byte("2"), []byte("x"))
		s.Await("orders", "billing", settled(6))
		want(t, "handled", fmt.Sprint(got), "[1 2]")
		want(t, "kept", kept.Load(), 4)
		want(t, "finished", c.Stats().Finished, 2)
		want(t, "requeued", c.Stats().Requeued, 0)
	})
}

// TestBatchOptions: options of the other kind of consumer are refused.
func TestBatchOptions(t *testing.T) {
	pass := func(next handler.Raw) handler.Raw { return next }
	passBatch := func(next handler.RawBatch) handler.RawBatch { return next }
	for name, tt := range map[string]struct {
		opts []nsqx.ConsumerOption
		want string
	}{
		"none":               {nil, ""},
		"size 0":             {opts(nsqx.WithBatch(0, time.Second)), "WithBatch is 0"},
		"wait 0":             {opts(nsqx.WithBatch(1, 0)), "WithBatch waits for 0s"},
		"too long":           {opts(nsqx.WithBatch(1, time.Minute), nsqx.WithMessageTimeout(time.Minute)), "want less than the 1m0s of WithMessageTimeout"},
		"beyond MaxInFlight": {opts(nsqx.WithBatch(10, time.Second), nsqx.WithMaxInFlight(9)), "want at most the 9 of WithMaxInFlight"},
		"default size":       {opts(nsqx.WithMaxInFlight(9)), ""},
		"size by default":    {opts(nsqx.WithMaxInFlight(9), nsqx.WithDefaults(nsqx.WithBatch(10, time.Second))), ""},
		"beyond a default":   {opts(nsqx.WithBatch(10, time.Second), nsqx.WithDefaults(nsqx.WithMaxInFlight(9))), "want at most the 9 of WithMaxInFlight"},
		"middleware":         {opts(nsqx.WithMiddleware(pass)), "use WithBatchMiddleware"},
		"batch middleware":   {opts(nsqx.WithBatchMiddleware(passBatch)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := nsqx.NewBatchConsumer("orders", "billing", codec.String(), (&batches{}).fn, append(tt.opts, nsqx.WithNSQD("a:1"))...)
			if tt.want == "" {
				wantErr(t, "NewBatchConsumer", err, nil)
			} else if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for _, o := range []nsqx.ConsumerOption{nsqx.WithBatch(1, time.Second), nsqx.WithBatchMiddleware(passBatch), nsqx.WithoutBatchTouch()} {
		if _, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { return nil }, o, nsqx.WithNSQD("a:1")); err == nil {
			t.Error("NewConsumer takes an option for batches")
		}
	}
}

// TestDeliverBatch: the test kit passes messages to a handler together.
func TestDeliverBatch(t *testing.T) {
	b := &batches{handle: func(_ context.Context, b *handler.Batch[string]) error {
		_ = b.Fail(1, retry.Drop(errBill))
		return errOther
	}}
	c := b.consumer(t, nsqx.WithNSQD("a:1"), nsqx.WithRetry(retry.Schedule(time.Second)))
	outcomes := nsqxtest.DeliverBatch(t, c, [][]byte{[]byte("1"), []byte("2"), []byte("3")})
	want(t, "sizes", b.sizes(), "3")
	want(t, "outcomes", fmt.Sprint(outcomes), fmt.Sprint([]handler.Outcome{
		{Disposition: handler.Requeue, Delay: time.Second, Err: errOther}, {Disposition: handler.Drop, Err: retry.Drop(errBill)}, {Disposition: handler.Requeue, Delay: time.Second, Err: errOther},
	}))
	single := newConsumer(t, func(_ context.Context, v string) error { return errors.New(v) }, nsqx.WithNSQD("a:1"))
	for i, out := range nsqxtest.DeliverBatch(t, single, [][]byte{[]byte("1"), []byte("2")}) {
		want(t, "error", fmt.Sprint(out.Err), fmt.Sprint(i+1))
	}
}

// TestBatchBelowSize: where a batch can never have its size, the log says so once, and it is as large
// as can be.
func TestBatchBelowSize(t *testing.T) {
	for name, tt := range map[string]struct {
		opts []nsqx.ConsumerOption
		body int
		want string // the sizes of the first batches
		log  string
	}{
		"max-rdy-count":                   {opts: opts(nsqx.WithBatch(20, time.Minute)), want: "16 16", log: "size=20 messages=16"},
		"max-rdy-count, fixed":            {opts: opts(nsqx.WithBatch(20, time.Minute), nsqx.WithMaxInFlight(100)), want: "16 16", log: "size=20 messages=16"},
		"bytes":                           {opts: opts(nsqx.WithBatch(16, time.Minute), nsqx.WithMaxInFlightBytes(1<<20)), body: 100_000, want: "10", log: "messages=10 wanted=16"},
		"several nsqds allow it together": {opts: opts(nsqx.WithBatch(15, time.Minute)), want: "15 15"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServers(t, 2, nsqxtest.WithMaxRDY(8), nsqxtest.WithPatience(time.Hour))
			log, b := new(logbook), new(batches)
			c, err := nsqx.NewBatchConsumer("orders", "billing", codec.String(), b.fn, append(tt.opts, nsqx.WithLogger(slog.New(log)), nsqxtest.Option(s...))...)
			if err != nil {
				t.Fatal(err)
			}
			nsqxtest.Run(t, c)
			time.Sleep(time.Second)
			body := bytes.Repeat([]byte("x"), tt.body)
			if tt.body > 0 {
				s[0].Publish("orders", body)
				time.Sleep(2 * time.Minute)
				b.mu.Lock()
				b.list = nil
				b.mu.Unlock()
			}
			for i := range 50 {
				s[i%2].Publish("orders", body)
			}
			time.Sleep(10 * time.Second)
			if got := b.sizes(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("sizes %s, want %s …", got, tt.want)
			}
			text := log.text()
			want(t, "lines", strings.Count(text, "said once"), min(len(tt.log), 1))
			if !strings.Contains(text, tt.log) {
				t.Errorf("log has no %q:\n%s", tt.log, text)
			}
		})
	}
}

// TestTooLargeInABatch: a message whose body was not read is in no batch.
func TestTooLargeInABatch(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var got synced[string]
		c, err := nsqx.NewBatchConsumer("orders", "billing", codec.String(), func(_ context.Context, b *handler.Batch[string]) error {
			got.add(strings.Join(b.Values(), " "))
			return nil
		}, s.Option(), nsqx.WithLogger(discard), nsqx.WithBatch(10, time.Second), nsqx.WithConn(conn.Config{MaxMessageSize: 1024}))
		wantErr(t, "NewBatchConsumer", err, nil)
		nsqxtest.Run(t, c)
		synctest.Wait()
		s.Publish("orders", []byte(strings.Repeat("x", 2048)), []byte("a"), []byte("b"))
		s.Await("orders", "billing", finished(2))
		want(t, "handled", strings.Join(got.all(), ", "), "a b")
		want(t, "requeued", c.Stats().Requeued, 1)
	})
}
