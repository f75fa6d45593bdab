package nsqxtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

// ask sends a request and returns status and body.
func ask(t testing.TB, l *nsqxtest.Lookupd, request string) string {
	t.Helper()
	method, url, _ := strings.Cut(request, " ")
	req, err := http.NewRequest(method, "http://"+l.Addr()+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := l.Client().HTTPClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(res.Status + " " + string(body))
}

func TestLookupdAnswers(t *testing.T) {
	l := nsqxtest.NewLookupd(t)
	s := nsqxtest.NewServer(t, nsqxtest.WithLookupds(l))
	const node = `"broadcast_address":"nsqd-1.test","hostname":"nsqd-1.test","http_port":4151,"remote_address":"nsqd-1.test:4150","tcp_port":4150,`
	for _, tt := range []struct{ request, want string }{
		{"GET /ping", `200 OK`},
		{"GET /lookup?topic=orders", `404 Not Found {"message":"TOPIC_NOT_FOUND"}`},
		{"GET /nodes", `200 OK {"producers":[{` + node + `"topics":[],"version":"1.3.0"}]}`},
		{"GET /topics", `200 OK {"topics":[]}`},
		{"POST /topic/create?topic=orders", `200 OK`},
		{"GET /lookup?topic=orders", `200 OK {"channels":[],"producers":[]}`},
		{"POST /channel/create?topic=orders&channel=billing", `200 OK`},
		{"POST /channel/create?topic=orders&channel=mine%23ephemeral", `200 OK`},
		{"GET /channels?topic=orders", `200 OK {"channels":["billing","mine#ephemeral"]}`},
		{"GET /channels?topic=nothing", `200 OK {"channels":[]}`},
		{"publish", ""},
		{"GET /lookup?topic=orders", `200 OK {"channels":["billing","mine#ephemeral"],"producers":[{` + node + `"version":"1.3.0"}]}`},
		{"GET /nodes", `200 OK {"producers":[{` + node + `"topics":["orders"],"version":"1.3.0"}]}`},
		{"POST /channel/delete?topic=orders&channel=billing", `200 OK`},
		{"POST /channel/delete?topic=orders&channel=billing", `404 Not Found {"message":"CHANNEL_NOT_FOUND"}`},
		{"POST /topic/delete?topic=orders", `200 OK`},
		{"GET /lookup?topic=orders", `404 Not Found {"message":"TOPIC_NOT_FOUND"}`},
		{"GET /lookup", `400 Bad Request {"message":"MISSING_ARG_TOPIC"}`},
		{"GET /lookup?topic=a%20b", `400 Bad Request {"message":"INVALID_ARG_TOPIC"}`},
		{"POST /channel/create?topic=orders", `400 Bad Request {"message":"MISSING_ARG_CHANNEL"}`},
		{"POST /channel/create?topic=orders&channel=a/b", `400 Bad Request {"message":"INVALID_ARG_CHANNEL"}`},
		{"GET /topic/create?topic=orders", `405 Method Not Allowed {"message":"METHOD_NOT_ALLOWED"}`},
		{"GET /", `404 Not Found {"message":"NOT_FOUND"}`},
	} {
		if tt.request == "publish" {
			s.Publish("orders", []byte("x"))
			continue
		}
		check.Want(t, tt.request, ask(t, l, tt.request), tt.want)
	}
	check.Want(t, "first request", l.Requests()[0].String(), "GET /ping")
}

// A new topic has the channels that its nsqlookupds know, but ephemeral ones, before its first
// message.
func TestNewTopic(t *testing.T) {
	l := nsqxtest.NewLookupd(t)
	s := nsqxtest.NewServer(t, nsqxtest.WithLookupds(l))
	ask(t, l, "POST /channel/create?topic=orders&channel=billing")
	ask(t, l, "POST /channel/create?topic=orders&channel=audit")
	ask(t, l, "POST /channel/create?topic=orders&channel=mine%23ephemeral")
	s.Publish("orders", []byte("x"))
	check.Want(t, "billing", s.Stats("orders", "billing").Depth, 1)
	check.Want(t, "audit", s.Stats("orders", "audit").Depth, 1)
	check.Want(t, "ephemeral", s.Stats("orders", "mine#ephemeral").Depth, 0)

	ask(t, l, "POST /channel/create?topic=orders&channel=late") // nsqd does not ask again
	s.Publish("orders", []byte("y"))
	check.Want(t, "late", s.Stats("orders", "late").Depth, 0)

	for name, away := range map[string]func(){
		"stopped": l.Stop,
		"hangs":   func() { l.Start(); ask(t, l, "POST /channel/create?topic=refunds&channel=billing"); l.Hang(true) },
	} {
		away()
		s.Publish("refunds", []byte("x"))
		check.Want(t, name, s.Stats("refunds", "billing").Depth, 0)
	}
}

// A registration ends with its server, and with the nsqlookupd.
func TestRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := nsqxtest.NewLookupd(t)
		s := nsqxtest.NewServer(t, nsqxtest.WithLookupds(l))
		s.Publish("orders", []byte("x"))
		s.Pause("orders", "billing")
		found := func(what string, want bool) {
			t.Helper()
			if got := strings.Contains(ask(t, l, "GET /lookup?topic=orders"), `"remote_address":"`+s.Addr()); got != want {
				t.Errorf("%s: registered is %v, want %v", what, got, want)
			}
		}
		found("at first", true)
		check.Want(t, "channels", strings.Join(l.Channels("orders"), " "), "billing")
		s.Stop()
		found("stopped", false)
		check.Want(t, "channels of a server that stopped", strings.Join(l.Channels("orders"), " "), "billing")
		s.Start("nsqd-7.test:4150")
		found("moved", true)

		l.Stop()
		if _, err := l.Client().HTTPClient.Get("http://" + l.Addr() + "/ping"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want a refused connection", err)
		}
		l.Start()
		found("after a restart", false)
		time.Sleep(16 * time.Second)
		found("soon after a restart", true)
		check.Want(t, "channels after a restart", strings.Join(l.Channels("orders"), " "), "billing")

		l.Stop()
		l.Start()
		s.Publish("refunds", []byte("x")) // tells it of all topics
		found("after a new topic", true)
	})
}

func TestLookupdHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := nsqxtest.NewLookupd(t)
		l.Hang(true)
		client := l.Client().HTTPClient
		client.Timeout = 3 * time.Second
		start := time.Now()
		if _, err := client.Get("http://any.test/ping"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
		check.Want(t, "it took", time.Since(start), 3*time.Second)
		time.AfterFunc(time.Second, func() { l.Hang(false) })
		check.Want(t, "afterwards", ask(t, l, "GET /ping"), "200 OK")
		check.Want(t, "it took in all", time.Since(start), 4*time.Second)
	})
}

func TestLookupdOn(t *testing.T) {
	l := nsqxtest.NewLookupd(t)
	l.On("/lookup", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	check.Want(t, "garbage", ask(t, l, "GET /lookup?topic=orders"), "200 OK <html>")
	check.Want(t, "other path", ask(t, l, "GET /ping"), "200 OK")
	l.On("", http.NotFoundHandler())
	check.Want(t, "every path", ask(t, l, "GET /ping"), "404 Not Found 404 page not found")
	l.On("/lookup", nil)
	l.On("", nil)
	check.Want(t, "restored", ask(t, l, "GET /topics"), `200 OK {"topics":[]}`)
	l.On("", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if _, err := l.Client().HTTPClient.Get("http://any.test/ping"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want an unexpected EOF", err)
	}
}

// It is an http.Handler.
func TestLookupdServes(t *testing.T) {
	l := nsqxtest.NewLookupd(t)
	srv := httptest.NewServer(l)
	defer srv.Close()
	res, err := http.Get(srv.URL + "/topics")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	check.Want(t, "status", res.StatusCode, http.StatusOK)
	l.Stop()
	if _, err := http.Get(srv.URL + "/topics"); err == nil {
		t.Error("a stopped nsqlookupd has answered")
	}
	http.DefaultClient.CloseIdleConnections()
}

// A service discovers its servers, wherever they move, whatever its own options say.
func TestLookupdOption(t *testing.T) {
	for name, opts := range map[string][]nsqx.ConsumerOption{
		"alone":      nil,
		"production": {nsqx.WithNSQD("nsqd.prod:4150"), nsqx.WithLookupd("lookupd.prod:4161"), nsqx.WithNSQDFilter(func(string) bool { return false })},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			lookupds := nsqxtest.NewLookupds(t, 2)
			servers := nsqxtest.NewServers(t, 2, nsqxtest.WithLookupds(lookupds...))
			handle := func(context.Context, string) error { return nil }
			nsqxtest.Run(t, consumer(t, handle, append(opts, nsqxtest.LookupdOption(lookupds...), nsqx.WithLookupInterval(time.Second))...))
			lookupds[1].Stop()
			servers[0].Publish("orders", []byte("x"))
			servers[0].Await("orders", "billing", finished(1))
			check.Want(t, "dials of the server without the topic", servers[1].Dials(), 0)

			servers[0].Stop()
			servers[0].Start("nsqd-9.test:4150")
			servers[1].Publish("orders", []byte("y"))
			servers[0].Publish("orders", []byte("z"))
			servers[1].Await("orders", "billing", finished(1))
			servers[0].Await("orders", "billing", finished(2))
		})
	}
	_, err := nsqx.NewProducer("orders", number2{}, nsqxtest.LookupdOption())
	if err == nil || !strings.Contains(err.Error(), "got no server") {
		t.Errorf("got %v, want a fault", err)
	}
}

// number2 is a codec for the fault of a producer.
type number2 struct{ number }

func (number2) Append(dst []byte, _ int) ([]byte, error) { return dst, nil }

// Network replaces the way to the servers and keeps the service's own discovery.
func TestNetwork(t *testing.T) {
	check.Bubble(t, "discoverer", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 2)
		l := nsqxtest.NewLookupd(t)
		for _, s := range servers {
			s.Publish("orders", []byte("x"))
		}
		named := nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) {
			return []string{servers[1].Addr(), "nsqd-gone.test:4150"}, nil
		})
		handle := func(context.Context, string) error { return nil }
		c := consumer(t, handle, nsqx.WithNSQD(servers[0].Addr()), nsqx.WithDiscoverer(named), nsqx.WithLookupd("lookupd.prod:4161"),
			nsqx.WithLookupdClient(l.Client()), nsqxtest.Network(servers...))
		nsqxtest.Run(t, c)
		for _, s := range servers {
			s.Await("orders", "billing", finished(1))
		}
		<-c.Ready()
		for _, s := range c.Stats().Connections {
			if s.Addr == "nsqd-gone.test:4150" && !errors.Is(s.LastErr, syscall.ECONNREFUSED) {
				t.Errorf("got %v, want a refused connection", s.LastErr)
			}
		}
		check.Want(t, "polls", l.Requests()[0].Method, http.MethodGet)
	})
	if _, err := nsqx.NewProducer("orders", number2{}, nsqxtest.Network()); err == nil || !strings.Contains(err.Error(), "WithNSQD") {
		t.Errorf("got %v, want a fault: Network names no nsqd", err)
	}
}
