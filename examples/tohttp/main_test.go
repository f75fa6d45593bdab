package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx/examples/internal/embedded"
	"github.com/nsqx/nsqx/examples/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// TestRun: each message arrives, though each is refused once; one that is always refused becomes a
// dead letter.
func TestRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d, exit, err := embedded.NSQD()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := exit(); err != nil {
			t.Error(err)
		}
	}()
	d.GetTopic("orders").GetChannel("test")
	for _, body := range []string{"a", "b", "c&d", "bad"} {
		if err := d.GetTopic("orders").PutMessage(nsqd.NewMessage(d.GetTopic("orders").GenerateID(), []byte(body))); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var taken []string
	tried := make(map[string]bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		request := fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL, r.Header.Get("Content-Type"), r.Header.Get("X-Team"), body)
		switch {
		case string(body) == "bad":
			w.WriteHeader(http.StatusUnprocessableEntity)
		case !tried[request]:
			tried[request] = true
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			w.WriteHeader(http.StatusAccepted)
			taken = append(taken, request)
		}
	}))
	defer server.Close()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-nsq", "nsq://" + d.RealTCPAddr().String(), "-topic", "orders", "-channel", "test", "-post", server.URL + "/in?x=%20",
			"-content-type", "text/plain", "-header", "X-Team: billing", "-dead-letter", "orders.dead"}, io.Discard)
	}()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		mu.Lock()
		n := len(taken)
		mu.Unlock()
		if n == 3 && embedded.Unfinished(d, "orders.dead") == 1 && embedded.Unfinished(d, "orders") == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests after 20 s", n)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	slices.Sort(taken)
	want := []string{"POST /in?x=%20 text/plain billing a", "POST /in?x=%20 text/plain billing b", "POST /in?x=%20 text/plain billing c&d"}
	if !slices.Equal(taken, want) {
		t.Errorf("got requests %q, want %q", taken, want)
	}
}

func TestRunRefusesWrongFlags(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string // part of the error
	}{
		{"-post http://a", "-topic is missing"},
		{"-topic a! -post http://a", "topic is faulty"},
		{"-topic a", "-post or -get is missing"},
		{"-topic a -post http://a -get http://b/%s", "want one of them"},
		{"-topic a -get http://b", "want %s in it once"},
		{"-topic a -get http://b/%s/%s", "want %s in it once"},
		{"-topic a -get http://b/%s -content-type text/plain", "-content-type is for -post"},
		{"-topic a -post a:80", "no request"},
		{"-topic a -post ftp://a", "unsupported protocol scheme"},
		{"-topic a -post http://", "no Host"},
		{"-topic a -post http://a -header X", "want a name, a colon and a value"},
		{"-topic a -post http://a -header X:\x01", "invalid header"},
		{"-topic a -post http://a -mode any", "want pool, round-robin or all"},
		{"-topic a -post http://a -timeout 0", "-timeout is 0s"},
		{"-topic a -post http://a -sample 0", "-sample is 0"},
		{"-topic a -post http://a -sample NaN", "-sample is NaN"},
		{"-topic a -post http://a -sample 1.1", "-sample is 1.1"},
		{"-topic a -post http://a -concurrency 0", "WithConcurrency"},
		{"-topic a -post http://a -dead-letter a", "own topic"},
		{"-topic a -post http://a -nsq a:4150", "has no scheme"},
		{"-topic a -post http://a b", `["b"] is no flag`},
		{"-help", flag.ErrHelp.Error()},
	} {
		err := run(t.Context(), strings.Split(tt.args, " "), io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want one with %q", tt.args, err, tt.want)
		}
	}
}
