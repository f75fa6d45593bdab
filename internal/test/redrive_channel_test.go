package test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
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

// letterOf returns a dead letter of a topic and a channel with payload x.
func letterOf(topic, channel string) []byte {
	return withHeaders("x", envelope.DeadTopic, topic, envelope.DeadChannel, channel, envelope.DeadTime, "T0")
}

// TestRedriveIsForOneChannel: only the channel that gave a message up handles it again. The others
// finish it unhandled, and count that.
func TestRedriveIsForOneChannel(t *testing.T) {
	for name, tt := range map[string]struct {
		opts    []nsqx.RedriveOption
		audited int // messages that the other channel handles again
	}{
		"by default":   {nil, 0},
		"all channels": {[]nsqx.RedriveOption{nsqx.WithRedriveAllChannels()}, 10},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newRedriveServer(t)
			var down atomic.Bool
			down.Store(true)
			var billed, audited synced[string]
			var settled settleEvents
			consume(t, []*nsqxtest.Server{s}, func(_ context.Context, body string) error {
				if down.Load() {
					return retry.Permanent(errBill)
				}
				billed.add(body)
				return nil
			}, dead)
			audit, err := nsqx.NewConsumer("orders", "audit", codec.String(), func(_ context.Context, body string) error {
				audited.add(body)
				return nil
			}, s.Option(), nsqx.WithLogger(discard), nsqx.WithHooks(settled.hooks()))
			wantErr(t, "audit", err, nil)
			nsqxtest.Run(t, audit)
			time.Sleep(headStart) // until both have subscribed
			publish(s, 10)
			s.Await("orders", "billing", finished(10))
			s.Await("orders", "audit", finished(10))
			down.Store(false)
			redrive(t.Context(), t, s, "", tt.opts...).want(nsqx.RedriveReport{Redriven: 10}, 90*time.Millisecond+redriveIdle+closeTime)
			want(t, "handled", len(billed.all()), 10)
			want(t, "handled by the other channel", len(audited.all()), 10+tt.audited)
			want(t, "finished by the other channel", s.Stats("orders", "audit").Finished, 20)
			want(t, "skipped", audit.Stats().Skipped, uint64(10-tt.audited))
			skips := 0
			for _, e := range settled.all() {
				if e.out.Disposition == handler.Skip {
					skips++
				}
			}
			want(t, "settled as skipped", skips, 10-tt.audited)
		})
	}
}

// TestForAnotherChannel: which messages a consumer of orders/billing leaves to another channel.
func TestForAnotherChannel(t *testing.T) {
	const key = envelope.RedriveChannel
	verbatim := envelope.Writer{Verbatim: true}
	for name, tt := range map[string]struct {
		body []byte
		opts []nsqx.ConsumerOption
		skip bool
	}{
		"its own":                  {body: withHeaders("7", key, "orders/billing")},
		"another's":                {body: withHeaders("7", key, "orders/audit"), skip: true},
		"of another topic":         {body: withHeaders("7", key, "payments/audit")},
		"without a topic":          {body: withHeaders("7", key, "audit")},
		"a dead letter":            {body: withHeaders("7", key, "orders/audit", envelope.DeadTopic, "orders")},
		"with a header, required":  {body: withHeaders("7", key, "orders/audit", "!zip", "1"), skip: true},
		"in the payload":           {body: verbatim.AppendTo(nil, withHeaders("7", key, "orders/audit"))},
		"no envelopes here":        {body: withHeaders("7", key, "orders/audit"), opts: opts(nsqx.WithoutEnvelopes())},
		"delivered often, crashes": {body: withHeaders("7", key, "orders/audit"), opts: opts(dead, guard15), skip: true},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c, _ := consume(t, []*nsqxtest.Server{s}, done, append(tt.opts, nsqx.WithRetry(seconds))...)
			s.PublishMessage("orders", tt.body, nsqxtest.WithAttempts(50))
			time.Sleep(time.Second)
			want(t, "skipped", c.Stats().Skipped, map[bool]uint64{true: 1}[tt.skip])
			want(t, "finished on the wire", s.Stats("orders", "billing").Finished == 1, tt.skip || c.Stats().Finished == 1)
		})
	}
}

// TestRedriveNoChannel: a dead letter stays if its channel does not exist, at the nsqd that has the
// dead letter or at another one. It is not published elsewhere.
func TestRedriveNoChannel(t *testing.T) {
	for name, tt := range map[string]struct {
		letter []byte
		report nsqx.RedriveReport
		err    bool
		setUp  func(s []*nsqxtest.Server)
	}{
		"exists":           {letter: letterOf("orders", "billing"), report: nsqx.RedriveReport{Redriven: 1}},
		"gone":             {letter: letterOf("orders", "shipping"), report: nsqx.RedriveReport{NoChannel: 1}},
		"no such topic":    {letter: letterOf("payments", "billing"), report: nsqx.RedriveReport{NoChannel: 1}},
		"is not named":     {letter: withHeaders("x", envelope.DeadTopic, "orders"), report: nsqx.RedriveReport{NoChannel: 1}},
		"is no name":       {letter: letterOf("orders", "a b"), report: nsqx.RedriveReport{NoChannel: 1}},
		"at another nsqd":  {letter: letterOf("payments", "billing"), report: nsqx.RedriveReport{Redriven: 1}, setUp: func(s []*nsqxtest.Server) { s[1].Unpause("payments", "billing") }},
		"cannot be known":  {letter: letterOf("orders", "billing"), report: nsqx.RedriveReport{Failed: 1}, err: true, setUp: func(s []*nsqxtest.Server) { s[0].RefuseHTTP(true); s[1].RefuseHTTP(true) }},
		"cannot carry one": {letter: withHeaders("\xC1\xCE\xD3\xD1\x12\x80\x80payload", envelope.DeadTopic, "orders", envelope.DeadChannel, "billing"), report: nsqx.RedriveReport{Failed: 1}},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServers(t, 2, nsqxtest.WithPatience(time.Hour))
			s[0].Unpause("orders", "billing")
			s[0].Unpause("orders", "audit")
			s[0].Publish("dead", tt.letter)
			if tt.setUp != nil {
				tt.setUp(s)
			}
			time.Sleep(headStart)
			before := len(s[0].Published("orders"))
			report, err := nsqx.Redrive(t.Context(), "dead", "", nsqxtest.Option(s...), nsqx.WithLogger(discard))
			want(t, "report", report, tt.report)
			want(t, "failed", err != nil, tt.err)
			if tt.err && (!strings.Contains(err.Error(), "WithRedriveHTTP") || !strings.Contains(err.Error(), "orders")) {
				t.Errorf("error is %v", err)
			}
			synctest.Wait()
			left := s[0].Stats("dead", "redrive")
			want(t, "dead letters", left.Depth+left.Deferred, 1-tt.report.Redriven)
			if tt.report.Redriven == 0 {
				want(t, "published", len(s[0].Published("orders"))+len(s[1].Published("orders"))+len(s[1].Published("payments")), before)
			}
			if name == "at another nsqd" {
				want(t, "published at the other", len(s[1].Published("payments")), 1)
			}
		})
	}
}

// TestRedriveNodesUnknown: a nsqlookupd that does not say which nsqds there are hides where the channel
// exists. The dead letter stays, and Redrive says why.
func TestRedriveNodesUnknown(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		l := nsqxtest.NewLookupd(t)
		l.On("/nodes", http.NotFoundHandler())
		s := nsqxtest.NewServers(t, 2, nsqxtest.WithLookupds(l), nsqxtest.WithPatience(time.Hour))
		s[1].Unpause("payments", "billing")
		s[0].Publish("dead", letterOf("payments", "billing"))
		time.Sleep(headStart)
		report, err := nsqx.Redrive(t.Context(), "dead", "", l.Option(), nsqx.WithLogger(discard))
		want(t, "report", report, nsqx.RedriveReport{Failed: 1})
		if err == nil || !strings.Contains(err.Error(), "which nsqds there are") {
			t.Errorf("error is %v", err)
		}
	})
}

// TestRedriveAsksNSQLookupd: nsqlookupd says where nsqd answers HTTP, and if nsqd does not answer,
// which channels there are.
func TestRedriveAsksNSQLookupd(t *testing.T) {
	for name, refuse := range map[string]bool{"and nsqd": false, "alone": true} {
		for channel, redriven := range map[string]int{"billing": 1, "shipping": 0} {
			bubble(t, name+", "+channel, func(t *testing.T) {
				l := nsqxtest.NewLookupd(t)
				s := nsqxtest.NewServer(t, nsqxtest.WithLookupds(l), nsqxtest.WithPatience(time.Hour))
				s.Unpause("orders", "billing")
				s.Publish("dead", letterOf("orders", channel))
				s.RefuseHTTP(refuse)
				time.Sleep(headStart)
				report, err := nsqx.Redrive(t.Context(), "dead", "", l.Option(), nsqx.WithLogger(discard))
				want(t, "report", report, nsqx.RedriveReport{Redriven: redriven, NoChannel: 1 - redriven})
				wantErr(t, "error", err, nil)
			})
		}
	}
}

// TestRedriveOtherChannels: Redrive makes no new channel, which would get nothing, while others have
// messages: it names them.
func TestRedriveOtherChannels(t *testing.T) {
	const no = -1
	for name, tt := range map[string]struct {
		others map[string]int // channels of the topic, with messages
		own    int            // messages in the channel of the redrive; no: it is new
		lookup bool           // nsqd does not answer, nsqlookupd does
		want   string         // of the error; "" for none
		exists bool           // afterwards
	}{
		"no topic":                  {own: no},
		"messages elsewhere":        {others: map[string]int{"archive": 2, "tail": 1, "empty": 0}, own: no, want: "archive (2), tail (1)"},
		"none elsewhere":            {others: map[string]int{"archive": 0}, own: no, exists: true},
		"a channel of its own":      {others: map[string]int{"archive": 2}, own: 0, exists: true},
		"with messages":             {others: map[string]int{"archive": 2}, own: 2, exists: true},
		"unknown, elsewhere":        {others: map[string]int{"archive": 2}, own: no, lookup: true, want: "archive", exists: true},
		"unknown, of its own":       {others: map[string]int{"archive": 2}, own: 0, lookup: true, exists: true},
		"unknown, nothing anywhere": {own: no, lookup: true},
	} {
		bubble(t, name, func(t *testing.T) {
			l := nsqxtest.NewLookupd(t)
			s := nsqxtest.NewServer(t, nsqxtest.WithLookupds(l), nsqxtest.WithPatience(time.Hour))
			channels := maps.Clone(tt.others)
			if tt.own != no {
				channels["redrive"] = tt.own
			}
			for level := 2; level >= 0; level-- { // a channel gets what is published after its creation
				for channel, n := range channels {
					if n == level {
						s.Unpause("dead", channel)
					}
				}
				if level > 0 && slices.Max(append(slices.Collect(maps.Values(channels)), 0)) >= level {
					s.Publish("dead", letterOf("orders", "billing"))
				}
			}
			s.RefuseHTTP(tt.lookup)
			report, err := nsqx.Redrive(t.Context(), "dead", "", l.Option(), nsqx.WithLogger(discard))
			e, ok := errors.AsType[*nsqx.RedriveChannelError](err)
			want(t, "error of a channel", ok, tt.want != "")
			if ok {
				want(t, "topic", e.Topic+"/"+e.Channel, "dead/redrive")
				if !strings.HasSuffix(err.Error(), "WithRedriveChannel: "+tt.want) {
					t.Errorf("error is %v", err)
				}
				want(t, "report", report, nsqx.RedriveReport{})
			}
			want(t, "channel exists", slices.Contains(l.Channels("dead"), "redrive"), tt.exists)
		})
	}
}

// TestRedriveHops: what identifies a message, its trace, and its first origin survive dead letters,
// redrives and other topics.
func TestRedriveHops(t *testing.T) {
	first := originHeaders
	again := strings.Replace(first, "nsqx-redrives=1", "nsqx-redrives=2", 1)
	forBilling := "\nnsqx-redrive-channel=orders/billing"
	for name, tt := range map[string]struct {
		body []byte
		hops []string // topics to which it is redriven in turn; each but the last is left by a dead letter, or if it ends in "!" by another redrive
		opts []nsqx.RedriveOption
		want string // headers of the last
	}{
		"plain":                    {body: []byte("7"), hops: []string{""}, want: strings.TrimPrefix(forBilling, "\n") + "\n" + first},
		"plain, twice":             {body: []byte("7"), hops: []string{"", ""}, want: first[:strings.LastIndex(first, "\n")] + "\nnsqx-redrives=2" + forBilling},
		"trace":                    {body: withHeaders("7", "traceparent", trace1, "nsqx-id", "42"), hops: []string{""}, want: "traceparent=" + trace1 + "\nnsqx-id=42" + forBilling + "\n" + first},
		"trace, twice":             {body: withHeaders("7", "traceparent", trace1, "nsqx-id", "42"), hops: []string{"", ""}, want: "traceparent=" + trace1 + "\nnsqx-id=42\n" + again + forBilling},
		"to another topic":         {body: withHeaders("7", "nsqx-id", "42"), hops: []string{"elsewhere"}, want: "nsqx-id=42\n" + first},
		"and from there":           {body: withHeaders("7", "nsqx-id", "42"), hops: []string{"elsewhere", ""}, want: "nsqx-id=42\n" + again + "\nnsqx-redrive-channel=elsewhere/billing"},
		"parked, and back":         {body: []byte("7"), hops: []string{"parked!", ""}, want: again + forBilling},
		"all channels":             {body: []byte("7"), hops: []string{""}, opts: []nsqx.RedriveOption{nsqx.WithRedriveAllChannels()}},
		"all channels, headers":    {body: withHeaders("7", "nsqx-id", "42"), hops: []string{""}, opts: []nsqx.RedriveOption{nsqx.WithRedriveAllChannels()}, want: "nsqx-id=42\n" + first},
		"all channels, afterwards": {body: withHeaders("7", "nsqx-redrive-channel", "orders/billing", "nsqx-id", "42"), hops: []string{""}, opts: []nsqx.RedriveOption{nsqx.WithRedriveAllChannels()}, want: "nsqx-id=42\n" + first},
	} {
		t.Run(name, func(t *testing.T) {
			letter, _ := deadLetterOf(t, tt.body, errBill)
			bubble(t, "", func(t *testing.T) {
				s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
				from, payload := "dead", "7"
				s.Unpause("orders", "billing")
				s.Publish(from, letter)
				for i, to := range tt.hops {
					to, parked := strings.CutSuffix(to, "!")
					time.Sleep(headStart)
					report, err := nsqx.Redrive(t.Context(), from, to, append(slices.Clone(tt.opts), s.Option(), nsqx.WithLogger(discard))...)
					want(t, "report", report, nsqx.RedriveReport{Redriven: 1})
					wantErr(t, "error", err, nil)
					if i == len(tt.hops)-1 {
						break
					}
					if parked {
						from = to
						continue
					}
					from = fmt.Sprint("dead", i)
					topic := to
					if topic == "" {
						topic = "orders"
					}
					failed, err := nsqx.NewConsumer(topic, "billing", codec.String(), alwaysFails, s.Option(), nsqx.WithDeadLetter(from), nsqx.WithLogger(discard))
					wantErr(t, "consumer", err, nil)
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan error)
					go func() { ended <- failed.Run(ctx) }()
					time.Sleep(time.Second)
					cancel()
					wantErr(t, "Run", <-ended, nil)
					want(t, "dead letters", len(s.Published(from)), 1)
				}
				last := tt.hops[len(tt.hops)-1]
				if last == "" {
					last = "orders"
					if name == "and from there" {
						last = "elsewhere"
					}
				}
				all := s.Published(last)
				headers, got := splitHeaders(all[len(all)-1].Body)
				want(t, "payload", got, payload)
				want(t, "headers", headers, tt.want)
			})
		})
	}
}

// TestRedriveHTTP: the address of WithRedriveHTTP is asked, not the one next to nsqd's.
func TestRedriveHTTP(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		l := nsqxtest.NewLookupd(t)
		asked := 0
		l.On("/stats", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			fmt.Fprint(w, `{"status_code":200,"data":{"topics":[{"topic_name":"orders","channels":[{"channel_name":"billing"}]}]}}`) // before nsqd 1.0
		}))
		s := nsqxtest.NewServer(t, nsqxtest.WithLookupds(l), nsqxtest.WithPatience(time.Hour))
		s.Publish("dead", letterOf("orders", "billing"))
		time.Sleep(headStart)
		report, err := nsqx.Redrive(t.Context(), "dead", "", l.Option(), nsqx.WithLogger(discard), nsqx.WithRedriveHTTP(s.Addr(), "http://"+l.Addr()))
		want(t, "report", report, nsqx.RedriveReport{Redriven: 1})
		wantErr(t, "error", err, nil)
		want(t, "asked", asked, 2) // for the channels of both topics
	})
}

// TestRedriveSlowHTTP: the idle time does not end while Redrive asks for channels, and nsqds that do not
// answer are asked together.
func TestRedriveSlowHTTP(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		l := nsqxtest.NewLookupd(t)
		l.On("/stats", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("topic") != "dead" {
				<-r.Context().Done() // as behind a firewall
			}
		}))
		servers := nsqxtest.NewServers(t, 5, nsqxtest.WithLookupds(l), nsqxtest.WithPatience(time.Hour))
		servers[0].Unpause("orders", "billing")
		servers[0].Publish("dead", letterOf("orders", "billing"))
		opts := []nsqx.RedriveOption{l.Option(), nsqx.WithLogger(discard)}
		for _, s := range servers {
			opts = append(opts, nsqx.WithRedriveHTTP(s.Addr(), "http://"+l.Addr()))
		}
		time.Sleep(headStart)
		began := time.Now()
		report, err := nsqx.Redrive(t.Context(), "dead", "", opts...)
		want(t, "report", report, nsqx.RedriveReport{Redriven: 1})
		wantErr(t, "error", err, nil)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("took %v", took)
		}
	})
}
