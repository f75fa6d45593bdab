package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/internal/check"
)

func serve(t *testing.T, handler http.HandlerFunc) string {
	s := httptest.NewServer(handler)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

func answer(t *testing.T, status int, text string) string {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	})
}

func newNSQD(t *testing.T, addr string, cfg admin.Config) *admin.NSQD {
	t.Helper()
	n, err := admin.NewNSQD(addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestChannels: the channels of a topic, also from an nsqd before 1.0.
func TestChannels(t *testing.T) {
	const stats = `{"topics":[{"topic_name":"other","channels":[{"channel_name":"x","depth":9}]},` +
		`{"topic_name":"orders","channels":[{"channel_name":"billing","depth":1,"in_flight_count":2,"deferred_count":3},{"channel_name":"audit"}]}]}`
	for name, tt := range map[string]struct {
		status            int
		answer, want, err string
	}{
		"now":      {200, stats, "audit:0 billing:6", ""},
		"old":      {200, `{"status_code":200,"data":` + stats + `}`, "audit:0 billing:6", ""},
		"no topic": {200, `{"topics":[]}`, "", ""},
		"null":     {200, `{"topics":null}`, "", ""},
		"refused":  {403, `no`, "", `status 403: "no"`},
		"escapes":  {500, "\x1b[31mred\x00\xff", "", `status 500: "\x1b[31mred\x00\xff"`},
		"garbage":  {200, `x`, "", "nsqx: nsqd at http http://127.0.0.1:"},
		"a list":   {200, `[]`, "", "cannot unmarshal array"},
		"empty":    {200, ``, "", "unexpected end of JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			counts, err := newNSQD(t, answer(t, tt.status, tt.answer), admin.Config{}).Channels(t.Context(), "orders")
			var got []string
			for _, name := range slices.Sorted(maps.Keys(counts)) {
				got = append(got, fmt.Sprintf("%s:%d", name, counts[name]))
			}
			check.Want(t, "channels", strings.Join(got, " "), tt.want)
			check.Want(t, "failed", err != nil, tt.err != "")
			if e, ok := errors.AsType[*admin.Error](err); err != nil && (!ok || e.Server != "nsqd" || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error is %v, want %s", err, tt.err)
			}
		})
	}
}

// TestHostile: whatever a server does, a call ends in time, and takes bounded memory.
func TestHostile(t *testing.T) {
	hang := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	endless := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"topics":[`)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(`{"topic_name":"x"},`, 1000)); err != nil {
				return
			}
		}
	})
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	redirect := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, hang, http.StatusFound) })
	deep := answer(t, 200, strings.Repeat(`{"topics":[`, 100000))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens
	cfg := admin.Config{HTTPClient: &http.Client{Timeout: 300 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}, MaxAnswer: 1 << 20}
	for name, tt := range map[string]struct{ addr, err string }{
		"never":    {hang, "deadline exceeded"},
		"endless":  {endless, "larger than 1048576 bytes"},
		"slow":     {slow, "deadline exceeded"},
		"redirect": {redirect, "status 302"},
		"deep":     {deep, "larger than"},
		"tiny":     {answer(t, 200, `{"topics":[{}`+strings.Repeat(",{}", 1<<18)+"]}"), "not that of an nsqd"},
		"zeros":    {answer(t, 200, `{"status_code":200,"data":{"topics":[0`+strings.Repeat(",0", 1<<18)+"]}}"), "not that of an nsqd"},
		"nobody":   {"http://" + l.Addr().String(), "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := newNSQD(t, tt.addr, cfg).Stats(t.Context(), admin.StatsFilter{})
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error is %v, want %s", err, tt.err)
			}
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = newNSQD(t, hang, admin.Config{}).Info(ctx)
	check.WantErr(t, "cancelled", err, context.DeadlineExceeded)
}

// TestCommand: a command that is unknown, or a faulty name, is not sent.
func TestCommand(t *testing.T) {
	var asked check.Synced[string]
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(r.Method + " " + r.URL.String())
		if r.URL.Query().Get("channel") == "none" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"CHANNEL_NOT_FOUND"}`)
		}
	})
	n := newNSQD(t, addr, admin.Config{})
	l, err := admin.NewLookupd(addr, admin.Config{})
	check.WantErr(t, "NewLookupd", err, nil)
	check.WantErr(t, "pause", n.Do(t.Context(), admin.Pause, "orders", "billing"), nil)
	check.WantErr(t, "create", l.Do(t.Context(), admin.Create, "orders", ""), nil)
	check.WantErr(t, "none", n.Do(t.Context(), admin.Empty, "orders", "none"), admin.ErrNotFound)
	check.WantErr(t, "option", n.SetOption(t.Context(), "../topic/delete?topic=orders", "x"), nil)
	check.Want(t, "requests", strings.Join(asked.All(), "\n"), "POST /channel/pause?channel=billing&topic=orders\nPOST /topic/create?topic=orders\n"+
		"POST /channel/empty?channel=none&topic=orders\nPUT /config/..%2Ftopic%2Fdelete%3Ftopic=orders")
	for _, err := range []error{
		n.Do(t.Context(), "explode", "orders", ""), l.Do(t.Context(), admin.Pause, "orders", ""),
		n.Do(t.Context(), admin.Create, "bad name", ""), n.Do(t.Context(), admin.Create, "orders", "bad/channel"),
	} {
		if e, ok := errors.AsType[*admin.Error](err); !ok || e.Status != 0 {
			t.Errorf("error is %v", err)
		}
	}
	check.Want(t, "requests", asked.Len(), 4)
	_, err = admin.NewNSQD("http://user:secret@host:1", admin.Config{})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a faulty address: %v", err)
	}
}
