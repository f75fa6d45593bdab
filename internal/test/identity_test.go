package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// who is the identity of a message.
type who struct {
	uid, key  string
	published time.Time
}

func whoIs(m *handler.Message) who { return who{m.UID(), m.Key(), m.PublishedAt()} }

func first(n int) func(string) string { return func(s string) string { return s[:n] } }

// TestIdentity: what a producer stamps, and a handler reads.
func TestIdentity(t *testing.T) {
	enveloped := nsqx.WithEnvelope()
	for name, tt := range map[string]struct {
		opts    []nsqx.ProducerOption
		publish []nsqx.PublishOption
		uid     string // "uuid" for any
		key     string
	}{
		"plain":              {nil, nil, "", ""},
		"envelope":           {[]nsqx.ProducerOption{enveloped}, nil, "uuid", ""},
		"id":                 {[]nsqx.ProducerOption{nsqx.WithMessageID(first(3))}, nil, "a-1", ""},
		"key":                {[]nsqx.ProducerOption{nsqx.WithKey(first(1))}, nil, "uuid", "a"},
		"both":               {[]nsqx.ProducerOption{nsqx.WithKey(first(1)), enveloped, nsqx.WithMessageID(first(3))}, nil, "a-1", "a"},
		"empty ones":         {[]nsqx.ProducerOption{nsqx.WithKey(first(0)), nsqx.WithMessageID(first(0))}, nil, "uuid", ""},
		"of one publish":     {[]nsqx.ProducerOption{enveloped}, []nsqx.PublishOption{nsqx.Header("nsqx-id", "7"), nsqx.Header("Nsqx-Key", "k")}, "7", "k"},
		"the value has both": {[]nsqx.ProducerOption{nsqx.WithMessageID(first(3))}, []nsqx.PublishOption{nsqx.Header("nsqx-id", "7")}, "7", ""},
		"an end":             {[]nsqx.ProducerOption{nsqx.WithTTL(time.Hour)}, nil, "uuid", ""},
	} {
		for _, shared := range []bool{false, true} {
			bubble(t, fmt.Sprint(name, ", shared ", shared), func(t *testing.T) {
				s := nsqxtest.NewServer(t)
				var got synced[who]
				_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
					got.add(whoIs(handler.FromContext(ctx)))
					return nil
				})
				opts := slices.Clip(tt.opts)
				if shared {
					opts = append(opts, nsqx.WithPublisher(newPublisher(t, []*nsqxtest.Server{s})))
				} else {
					opts = append(opts, s.Option(), nsqx.WithLogger(discard))
				}
				p := newProducer(t, opts...)
				began := time.Now()
				wantKind(t, p.Publish(t.Context(), "a-1 x", tt.publish...), nil)
				s.Await("orders", "billing", finished(1))
				w := got.all()[0]
				if tt.uid == "uuid" {
					want(t, "length", len(w.uid), 36)
				} else {
					want(t, "uid", w.uid, tt.uid)
				}
				want(t, "key", w.key, tt.key)
				if plain := len(tt.opts) == 0; plain {
					want(t, "published", w.published.IsZero(), true)
					want(t, "body", published(s, "orders"), "a-1 x")
				} else {
					want(t, "published", w.published.Equal(began), true)
				}
			})
		}
	}
}

// TestPublishAllIDs: the ids of many messages are distinct and in order of time, and their keys are
// those of their values.
func TestPublishAllIDs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithKey(func(v string) string { return v }))
		const n = 10000
		values := numbered(n)
		confirmed, err := p.PublishAll(t.Context(), values)
		wantKind(t, err, nil)
		want(t, "confirmed", confirmed, n)
		last := ""
		for i, m := range s.Published("orders") {
			h, _, _ := envelope.Split(m.Body)
			id, _ := h.Get(envelope.ID)
			key, _ := h.Get(envelope.Key)
			if string(id) <= last || len(id) != 36 || id[14] != '7' {
				t.Fatalf("id %d is %q, after %q", i, id, last)
			}
			if string(key) != values[i] {
				t.Fatalf("key %d is %q", i, key)
			}
			last = string(id)
		}
	})
}

// TestHeaderOfOnePublish: the header of a publish belongs to its messages alone, and replaces that of
// the ctx, which stays for others.
func TestHeaderOfOnePublish(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		pub := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithEnvelope())
		audit := func(next handler.Send) handler.Send { // publishes under the same ctx
			return func(ctx context.Context, out *handler.Outgoing) error {
				return errors.Join(next(ctx, out), sendTo(ctx, pub, "audit", "seen"))
			}
		}
		p := newProducer(t, nsqx.WithPublisher(pub), nsqx.WithSendMiddleware(audit))
		ctx := handler.WithHeader(handler.WithHeader(t.Context(), "tenant", "acme"), "priority", "low")
		wantKind(t, p.Publish(ctx, "x", nsqx.Header("Priority", "high"), nil, nsqx.Header("a", "1"), nsqx.Header("a", "2")), nil)
		_, err := p.PublishAll(ctx, []string{"y", "z"}, nsqx.Header("priority", "high"))
		wantKind(t, err, nil)
		wantKind(t, p.Publish(ctx, "x"), nil)
		for i, wanted := range []string{"tenant=acme priority=high a=2", "tenant=acme priority=high", "tenant=acme priority=high", "tenant=acme priority=low"} {
			all, _ := headers(t, s.Published("orders")[i].Body)
			want(t, "headers", all, wanted)
		}
		for _, m := range s.Published("audit") {
			all, _ := headers(t, m.Body)
			want(t, "headers of another publish", all, "tenant=acme priority=low")
		}
		_, err = p.PublishAll(ctx, []string{"y", "z"}, nsqx.Header("Nsqx-ID", "7"))
		wantKind(t, err, nsqx.ErrRejected)
		wantKind(t, p.Publish(ctx, "x", nsqx.Header("a b", "1")), nsqx.ErrRejected)
	})
}

// TestSendIDs: a publish in an envelope has ids whoever makes it, and its Outgoing is as it was
// afterwards, for other messages.
func TestSendIDs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newPublisher(t, []*nsqxtest.Server{s})
		out := message("orders", "a", "b")
		out.Envelope = true
		wantErr(t, "Set", out.Messages[1].Headers.Set("nsqx-id", "own"), nil)
		out.Delay = time.Hour
		for range 2 {
			wantKind(t, p.Send(t.Context(), out), nil)
			want(t, "headers left", out.Headers.Len()+out.Messages[0].Headers.Len(), 0)
			time.Sleep(time.Minute)
		}
		var ids []string
		for i, m := range s.Published("orders") {
			h, _, _ := envelope.Split(m.Body)
			id, _ := h.Get("nsqx-id")
			before, _ := h.Get("nsqx-not-before")
			want(t, "not before", string(before), fmt.Sprintf("2000-01-01T01:%02d:00Z", i/2))
			ids = append(ids, string(id))
		}
		want(t, "own", ids[1]+" "+ids[3], "own own")
		want(t, "new ones", len(ids[0]) == 36 && len(ids[2]) == 36 && ids[0] != ids[2], true)

		out = message("orders", "a", "b")
		out.Envelope = true
		wantErr(t, "Set", out.Headers.Set("nsqx-id", "7"), nil)
		err := p.Send(t.Context(), out)
		wantKind(t, err, nsqx.ErrRejected)
		want(t, "text", strings.Contains(fmt.Sprint(err), "2 messages would have the same nsqx-id"), true)
		out.Messages = out.Messages[:1]
		wantKind(t, p.Send(t.Context(), out), nil)
	})
}

// TestIdentityInput: ids and keys that no message can have, and functions that fail.
func TestIdentityInput(t *testing.T) {
	returns := func(s string) func(string) string { return func(string) string { return s } }
	panics := func(string) string { panic("no key") }
	for name, tt := range map[string]struct {
		opt  nsqx.ProducerOption
		pub  []nsqx.PublishOption
		text string // "": it is published
	}{
		"255 bytes":       {nsqx.WithMessageID(returns(strings.Repeat("x", 255))), nil, ""},
		"256 bytes":       {nsqx.WithMessageID(returns(strings.Repeat("x", 256))), nil, `header "nsqx-id" cannot be carried: an id or key has at most 255 bytes`},
		"control":         {nsqx.WithMessageID(returns("a\nb")), nil, "without control characters"},
		"no UTF-8":        {nsqx.WithKey(returns("\xff")), nil, "without control characters"},
		"key, 256 bytes":  {nsqx.WithKey(returns(strings.Repeat("é", 128))), nil, `header "nsqx-key" cannot be carried`},
		"key, 254 bytes":  {nsqx.WithKey(returns(strings.Repeat("é", 127))), nil, ""},
		"panic":           {nsqx.WithKey(panics), nil, "the function for the header nsqx-key: nsqx: panic: no key"},
		"panic of an id":  {nsqx.WithMessageID(panics), nil, "the function for the header nsqx-id"},
		"by a header":     {nsqx.WithEnvelope(), []nsqx.PublishOption{nsqx.Header("nsqx-id", strings.Repeat("x", 256))}, "at most 255 bytes"},
		"key by a header": {nsqx.WithEnvelope(), []nsqx.PublishOption{nsqx.Header("nsqx-key", strings.Repeat("x", 256))}, "at most 255 bytes"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			p := newProducer(t, s.Option(), nsqx.WithLogger(discard), tt.opt)
			_, all := p.PublishAll(t.Context(), []string{"x", "y"}, tt.pub...)
			later := make(chan error, 1)
			if err := p.PublishAsync(t.Context(), "x", func(err error) { later <- err }, tt.pub...); err != nil {
				later <- err
			}
			for what, err := range map[string]error{"Publish": p.Publish(t.Context(), "x", tt.pub...), "PublishAll": all, "PublishAsync": <-later} {
				if tt.text == "" {
					wantErr(t, what, err, nil)
					continue
				}
				wantKind(t, err, nsqx.ErrRejected)
				if what != "PublishAll" && !strings.Contains(fmt.Sprint(err), tt.text) {
					t.Errorf("%s: %v, want %q", what, err, tt.text)
				}
				want(t, "published", published(s, "orders"), "")
				want(t, "rejected", p.Stats().Rejected, 4)
			}
		})
	}
}

// TestIdentityFaults: faulty options of a producer.
func TestIdentityFaults(t *testing.T) {
	one := func(int) string { return "1" }
	for name, tt := range map[string]struct {
		opts []nsqx.ProducerOption
		want string
	}{
		"another type":      {[]nsqx.ProducerOption{nsqx.WithMessageID(one)}, "WithMessageID got a func(int) string, want a func(string) string, which takes the producer's values"},
		"another type, too": {[]nsqx.ProducerOption{nsqx.WithKey(one), nsqx.WithKey(first(1))}, "WithKey is given twice"},
		"key of another":    {[]nsqx.ProducerOption{nsqx.WithKey(one)}, "WithKey got a func(int) string"},
		"nil":               {[]nsqx.ProducerOption{nsqx.WithMessageID[string](nil)}, "WithMessageID got nil"},
		"nil key":           {[]nsqx.ProducerOption{nsqx.WithKey[string](nil)}, "WithKey got nil"},
		"no time":           {[]nsqx.ProducerOption{nsqx.WithTTL(0)}, "WithTTL is 0s, want more than 0s, up to 876000h0m0s"},
		"1000 years":        {[]nsqx.ProducerOption{nsqx.WithTTL(1<<63 - 1)}, "WithTTL is 2562047h"},
		"twice":             {[]nsqx.ProducerOption{nsqx.WithTTL(1), nsqx.WithTTL(1)}, "WithTTL is given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := nsqx.NewProducer("orders", codec.String(), append(tt.opts, nsqx.WithNSQD(nsqd1), nsqx.WithLogger(discard))...)
			if !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			_, err = nsqx.NewPublisher(append(tt.opts, nsqx.WithNSQD(nsqd1), nsqx.WithLogger(discard))...)
			if !strings.Contains(fmt.Sprint(err), "is for NewProducer, whose messages it is about") {
				t.Errorf("NewPublisher returned %v", err)
			}
		})
	}
	_, err := nsqx.NewConsumer("orders", "billing", codec.String(), alwaysFails, nsqx.WithNSQD(nsqd1), nsqx.WithSkipOlder(0))
	want(t, "fault", fmt.Sprint(err), "nsqx: WithSkipOlder is 0s, want more than 0")
}

// TestIdentityIsKept: a message keeps its id, key and trace when it is given back, becomes a dead
// letter and is redriven.
func TestIdentityIsKept(t *testing.T) {
	withTrace := nsqx.Header("traceparent", trace1)
	for _, way := range []string{"requeue", "hop", "dead letter", "redrive"} {
		bubble(t, way, func(t *testing.T) {
			s := newRedriveServer(t)
			p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithMessageID(first(3)), nsqx.WithKey(first(1)), nsqx.WithTTL(time.Hour))
			var got synced[string]
			runs := 0
			look := func(ctx context.Context, _ string) error {
				m := handler.FromContext(ctx)
				got.add(fmt.Sprintf("%+v trace %s origin %s", whoIs(m), m.Header("traceparent")+m.Header(envelope.OriginTrace), m.Header(envelope.DeadTopic)+"/"+m.Header(envelope.DeadChannel)))
				switch runs++; {
				case way == "requeue" && runs == 1:
					return retry.After(time.Second, errBill)
				case (way == "dead letter" || way == "redrive") && runs == 1:
					return retry.Permanent(errBill)
				}
				return nil
			}
			_, _ = consume(t, []*nsqxtest.Server{s}, look, dead)
			wantErr(t, "Ping", p.Ping(t.Context()), nil)
			opts := []nsqx.PublishOption{withTrace}
			if way == "hop" {
				opts = append(opts, nsqx.At(time.Now().Add(150*time.Minute)))
			}
			wantKind(t, p.Publish(t.Context(), "a-1 x", opts...), nil)
			if way == "hop" {
				time.Sleep(2 * time.Hour)
			}
			s.Await("orders", "billing", finished(1))
			same := fmt.Sprintf("%+v trace %s origin ", who{"a-1", "a", time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}, trace1)
			wanted := []string{same + "/"}
			switch way {
			case "requeue":
				wanted = append(wanted, wanted[0])
			case "hop":
				want(t, "deliveries", s.Attempts("orders", "billing", s.Finished("orders", "billing")[0]), 3)
			case "dead letter":
				c, err := nsqx.NewConsumer("dead", "read", codec.String(), look, s.Option(), nsqx.WithLogger(discard))
				wantErr(t, "NewConsumer", err, nil)
				time.Sleep(2 * time.Hour) // it has expired, but the dead letter has not
				nsqxtest.Run(t, c)
				s.Await("dead", "read", finished(1))
				wanted = append(wanted, strings.Replace(same, "trace ", "trace "+trace1, 1)+"orders/billing")
			case "redrive":
				time.Sleep(2 * time.Hour)
				r := redrive(t.Context(), t, s, "")
				want(t, "report", r.report, nsqx.RedriveReport{Redriven: 1})
				s.Await("orders", "billing", finished(2))
				wanted = append(wanted, wanted[0])
			}
			want(t, "runs", strings.Join(got.all(), "\n"), strings.Join(wanted, "\n"))
		})
	}
}

// TestTracesEnd: a producer that is observed, and sends no headers, says once that traces end there.
func TestTracesEnd(t *testing.T) {
	telemetry := nsqx.WithTelemetry(tracer{})
	for name, tt := range map[string]struct {
		opts []nsqx.ProducerOption
		want int
	}{
		"no headers": {nil, 1},
		"envelope":   {[]nsqx.ProducerOption{nsqx.WithEnvelope()}, 0},
		"implied":    {[]nsqx.ProducerOption{nsqx.WithKey(first(1))}, 0},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			log := &logbook{}
			p := newProducer(t, append(tt.opts, s.Option(), telemetry, nsqx.WithLogger(slog.New(log)))...)
			pub := newProducer(t, append(tt.opts, nsqx.WithPublisher(newPublisherOf(t, s.Option(), telemetry)))...)
			for range 3 {
				wantKind(t, errors.Join(p.Publish(t.Context(), "x"), pub.Publish(t.Context(), "x")), nil)
			}
			synctest.Wait()
			want(t, "said", log.countAttrs("traces end at this producer", "orders"), tt.want)
		})
	}
}
