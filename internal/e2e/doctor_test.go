package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// patient is a cluster of two nsqlookupds and three nsqds, and what doctor is told of it.
type patient struct {
	t        *testing.T
	lookupds []*testnsqd.Lookupd
	nsqds    []*testnsqd.Server
	flags    []string
	doctor   []string // flags of doctor
	gone     []string // nsqds that only the services are told of
}

// newPatient starts a cluster. options are those of single nsqds, by number.
func newPatient(t *testing.T, options map[int][]func(*nsqd.Options)) *patient {
	p := &patient{t: t}
	var both []func(*nsqd.Options)
	for range 2 {
		l := testnsqd.StartLookupd(t)
		p.lookupds = append(p.lookupds, l)
		p.flags = append(p.flags, "--lookupd", l.HTTPAddr())
		both = append(both, l.Register)
	}
	for i := range 3 {
		s := testnsqd.Start(t, append(slices.Clone(both), options[i]...)...)
		s.EnsureChannel(topic, channel)
		p.nsqds = append(p.nsqds, s)
	}
	return p
}

type diagnosis struct {
	Check, Severity, What, Cure string
	At                          []string
}

// diagnose returns the findings, and the exit status.
func (p *patient) diagnose() ([]diagnosis, ran) {
	p.t.Helper()
	r := runCommand(p.t, "", append(append(slices.Clone(p.flags), "doctor", "--json", "--wait", "100ms", "--timeout", "3s"), p.doctor...)...)
	return lines[diagnosis](p.t, r.out), r
}

func names(all []diagnosis) string {
	var found []string
	for _, d := range all {
		found = append(found, d.Check)
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " ")
}

// registered waits until doctor finds nothing but what is wanted: nsqds take a moment to register.
func (p *patient) want(checks string) []diagnosis {
	p.t.Helper()
	var all []diagnosis
	var r ran
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); {
		if all, r = p.diagnose(); names(all) == checks {
			break
		}
	}
	if got := names(all); got != checks {
		p.t.Fatalf("doctor finds %q, want %q:\n%s%s", got, checks, r.out, r.err)
	}
	code := 0
	for _, d := range all {
		switch d.Severity {
		case "error":
			code = 4
		case "warning":
			code = max(code, 3)
		}
		if len(d.At) == 0 || d.What == "" || len(d.Cure) < 10 {
			p.t.Errorf("a finding says too little: %+v", d)
		}
	}
	if r.code != code {
		p.t.Errorf("exit status %d, want %d", r.code, code)
	}
	return all
}

// TestDoctorHealthy: a cluster at work has no finding.
func TestDoctorHealthy(t *testing.T) {
	t.Parallel()
	p := newPatient(t, nil)
	book := newLedger()
	c := newConsumer(t, func(ctx context.Context, body string) error {
		book.begin(ctx, body)
		book.succeed(body)
		return nil
	}, nsqx.WithNSQD(p.nsqds[0].Addr(), p.nsqds[1].Addr(), p.nsqds[2].Addr()))
	r := start(t, c)
	for i, s := range p.nsqds {
		publish(t, s, topic, []byte(strconv.Itoa(i)))
	}
	p.want("")
	text := runCommand(t, "", append(p.flags, "doctor")...)
	text.want(t, 0, "", "2 nsqlookupds and 3 nsqds were asked: 0 findings")
	r.mustStop()
}

// TestDoctor puts one fault at a time into a cluster: it is found, alone, with where it is and its cure.
func TestDoctor(t *testing.T) {
	t.Parallel()
	type options = map[int][]func(*nsqd.Options)
	each := func(f func(*nsqd.Options)) options { return options{0: {f}, 1: {f}, 2: {f}} }
	ca, auth := testnsqd.NewAuthority(t), testnsqd.StartAuth(t)
	nobody := freePort(t)
	for name, tt := range map[string]struct {
		options options
		fault   func(p *patient)
		checks  string
		text    string // in what or where or the cure
	}{
		"nsqlookupd is down":    {fault: func(p *patient) { p.lookupds[1].Stop() }, checks: "lookupd-unreachable", text: "refused"},
		"not registered at one": {options: options{2: {func(o *nsqd.Options) { o.NSQLookupdTCPAddresses = o.NSQLookupdTCPAddresses[:1] }}}, checks: "nsqd-not-registered", text: "--lookupd-tcp-address"},
		"broadcast address": {options: options{1: {func(o *nsqd.Options) { o.BroadcastAddress = "nsqd.invalid" }}},
			checks: "broadcast-unresolvable", text: "--broadcast-address"},
		"duplicate id":       {options: each(func(o *nsqd.Options) { o.ID = 7 }), checks: "duplicate-node-id", text: "--node-id"},
		"nobody listens":     {options: options{0: {func(o *nsqd.Options) { o.BroadcastTCPPort = nobody }}}, checks: "nsqd-unreachable", text: "--broadcast-tcp-port"},
		"no HTTP":            {options: options{0: {func(o *nsqd.Options) { o.BroadcastHTTPPort = nobody }}}, checks: "http-unreachable", text: "--nsqd-http"},
		"TLS is required":    {options: each(ca.RequireTLS), checks: "tls-required", text: "--tls"},
		"no TLS":             {fault: func(p *patient) { p.flags = append(p.flags, "--tls") }, checks: "no-tls", text: "--tls-cert"},
		"AUTH without TLS":   {options: each(auth.Require), checks: "auth-required auth-without-tls", text: "--auth-secret-file"},
		"max-req-timeout":    {options: options{1: {func(o *nsqd.Options) { o.MaxReqTimeout = 2 * time.Hour }}}, checks: "settings-differ", text: "--max-req-timeout is 1h0m0s"},
		"max-msg-size":       {options: options{1: {func(o *nsqd.Options) { o.MaxMsgSize = 2 << 20 }}}, checks: "settings-differ", text: "--max-msg-size is 1048576"},
		"max-msg-timeout":    {options: options{1: {func(o *nsqd.Options) { o.MaxMsgTimeout = time.Hour }}}, checks: "settings-differ", text: "--max-msg-timeout is 15m0s"},
		"max-rdy-count":      {options: options{1: {func(o *nsqd.Options) { o.MaxRdyCount = 10 }}}, checks: "settings-differ", text: "--max-rdy-count"},
		"a small limit":      {options: each(func(o *nsqd.Options) { o.MaxReqTimeout = time.Minute }), checks: "small-limit", text: "--max-req-timeout=1h0m0s"},
		"a channel on one":   {fault: func(p *patient) { p.nsqds[1].EnsureChannel(topic, "audit") }, checks: "channel-missing", text: "nsqx channel create orders audit"},
		"no channel":         {fault: func(p *patient) { p.nsqds[1].Publish("stray", []byte("x")) }, checks: "topic-without-channels", text: "nsqx topic delete stray"},
		"no consumer":        {fault: func(p *patient) { publish(p.t, p.nsqds[1], topic, []byte("x")) }, checks: "no-consumer", text: "orders/billing"},
		"a paused topic":     {fault: func(p *patient) { p.nsqds[1].Do("/topic/pause?topic=orders") }, checks: "paused", text: "nsqx topic unpause orders"},
		"a paused channel":   {fault: func(p *patient) { p.nsqds[1].Do("/channel/pause?topic=orders&channel=billing") }, checks: "paused", text: "nsqx channel unpause orders billing"},
		"an ephemeral one":   {fault: func(p *patient) { p.nsqds[1].EnsureChannel(topic, "x#ephemeral") }, checks: "ephemeral-leftover", text: "nsqx channel delete orders x#ephemeral"},
		"no nsqd":            {fault: func(p *patient) { p.flags = []string{"--lookupd", testnsqd.StartLookupd(p.t).HTTPAddr()} }, checks: "no-nsqd", text: "--lookupd-tcp-address"},
		"a faulty flag":      {fault: func(p *patient) { p.flags = append(p.flags, "--nsqd-http", fmt.Sprintf("127.0.0.1:%d", nobody)) }, checks: "server-unreachable", text: "--nsqd-http"},
		"handlers that hang": {options: each(messageTimeout(time.Second)), fault: func(p *patient) { p.subscribe(p.nsqds[0], nil) }, checks: "timeouts", text: "AutoTouch"},
		"handlers that fail": {fault: func(p *patient) {
			p.subscribe(p.nsqds[0], func(c *conn.Conn, d *handler.Delivery) { c.Requeue(d, 10*time.Millisecond) })
		}, checks: "requeues", text: "WithDeadLetter"},
		"depth on disk":   {fault: func(p *patient) { p.idle(p.nsqds[1], 1500) }, checks: "depth-on-disk", text: "nsqx stats orders --watch"},
		"a doubled queue": {options: each(func(o *nsqd.Options) { o.MemQueueSize = 0 }), fault: func(p *patient) { p.doubled(p.nsqds[0]) }, checks: "in-flight-drift", text: "nsqd counts 1 messages in flight for its clients, and has 0"},
		"another version": {fault: func(p *patient) { p.lies(`"version":"`, `"version":"1.1.0","real":"`) }, checks: "known-bug", text: "nsqio/nsq#1251"},
		"unhealthy":       {fault: func(p *patient) { p.lies(`"health":"OK"`, `"health":"NOK - no space left"`) }, checks: "nsqd-unhealthy", text: "no space left"},
		"drift": {fault: func(p *patient) {
			p.lies(`"clients":[]`, `"clients":[{"in_flight_count":3,"ready_count":1}]`)
		}, checks: "in-flight-drift", text: "3 messages in flight"},
		"a wrong clock": {fault: func(p *patient) { p.lies("", "") }, checks: "clock", text: "Its clock is 1h0m"},
		"the same broadcast address": {fault: func(p *patient) {
			twin := func(o *nsqd.Options) {
				o.BroadcastTCPPort, o.BroadcastHTTPPort = portOf(p.nsqds[0].Addr()), portOf(p.nsqds[0].HTTPAddr())
			}
			testnsqd.Start(p.t, p.lookupds[0].Register, p.lookupds[1].Register, twin)
		}, checks: "same-broadcast-address", text: "--broadcast-tcp-port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, tt.options)
			if tt.options == nil {
				p.want("")
			}
			if tt.fault != nil {
				tt.fault(p)
			}
			all := p.want(tt.checks)
			if !strings.Contains(fmt.Sprint(all), tt.text) {
				t.Errorf("no finding has %q: %+v", tt.text, all)
			}
		})
	}
}

// TestDoctorAuthorized: with the secret, only what is wrong with it is found.
func TestDoctorAuthorized(t *testing.T) {
	t.Parallel()
	auth := testnsqd.StartAuth(t)
	p := newPatient(t, map[int][]func(*nsqd.Options){0: {auth.Require}, 1: {auth.Require}, 2: {auth.Require}})
	secret := t.TempDir() + "/secret"
	writeFile(t, secret, "let me in")
	p.flags = append(p.flags, "--auth-secret-file", secret, "--allow-plaintext-auth")
	p.want("auth-without-tls")
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return n
}

// lies puts a proxy before the HTTP interface of an nsqd, which is then the whole cluster. It replaces
// text in statistics; without text its clock is an hour ahead.
func (p *patient) lies(old, new string) {
	target := &url.URL{Scheme: "http", Host: p.nsqds[0].HTTPAddr()}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{DisableKeepAlives: true},
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if old == "" {
				r.Header.Set("Date", time.Now().Add(time.Hour+time.Second).UTC().Format(http.TimeFormat))
				return nil
			}
			body, err := io.ReadAll(r.Body)
			r.Body.Close()
			if err != nil || !strings.HasSuffix(r.Request.URL.Path, "/stats") {
				r.Body = io.NopCloser(bytes.NewReader(body))
				return err
			}
			body = bytes.ReplaceAll(body, []byte(old), []byte(new))
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	}
	s := httptest.NewServer(proxy)
	p.t.Cleanup(s.Close)
	p.flags = []string{"--nsqd-http", s.URL}
}
