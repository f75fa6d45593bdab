package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestCommandHostileServers: whatever servers answer, a command ends in time, with an exit status that
// says so, and prints nothing that a terminal obeys.
func TestCommandHostileServers(t *testing.T) {
	t.Parallel()
	const evil = `\u001b[2J\u009b31m\u202e`
	topics := `{"version":"` + evil + `","health":"` + evil + `","topics":[{"topic_name":"dead` + evil + `","depth":-1,"channels":[{"channel_name":"` + evil +
		`","depth":-9223372036854775808,"in_flight_count":5,"client_count":1,"clients":[{"hostname":"` + evil + `","user_agent":"` + strings.Repeat(evil, 100) + `","in_flight_count":9}]}]},` +
		`{"topic_name":"dead","channels":[{"channel_name":"redrive","depth":5}]}]}`
	for name, answer := range map[string]http.HandlerFunc{
		"garbage": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\x1b[2J\xff") },
		"refuses": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "\x1b[2J\xff", http.StatusForbidden) },
		"null":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "null") },
		"never":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("[", 1<<16)); err != nil {
					return
				}
			}
		},
		"lies": func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/info":
				fmt.Fprint(w, `{"version":"`+evil+`","tcp_port":1}`)
			case "/nodes":
				fmt.Fprint(w, `{"producers":[{"broadcast_address":"`+evil+`","tcp_port":1,"http_port":2},{"broadcast_address":"127.0.0.1","tcp_port":1,"http_port":1,"remote_address":"`+evil+`"}]}`)
			default:
				fmt.Fprint(w, topics)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(answer)
			t.Cleanup(func() {
				s.CloseClientConnections()
				s.Close()
			})
			addr := strings.TrimPrefix(s.URL, "http://")
			for _, args := range []string{"stats", "stats --json --clients", "doctor --wait 10ms", "dead ls dead", "topic delete dead -y", "tail dead", "pub dead"} {
				for _, flag := range []string{"--nsqd-http", "--lookupd"} {
					began := time.Now()
					r := runCommand(t, "", append([]string{flag, addr, "--timeout", "300ms"}, strings.Fields(args)...)...)
					if took := time.Since(began); took > 15*time.Second {
						t.Errorf("%s %s took %v", flag, args, took)
					}
					if harmless := name == "lies" && (strings.HasPrefix(args, "stats") || args == "topic delete dead -y" || args == "pub dead"); r.code == 0 && !harmless {
						t.Errorf("%s %s succeeds: %s%s", flag, args, r.out, r.err)
					}
				}
			}
		})
	}
}

// TestCommandManyServersDown: a look at dead letters among a hundred nsqds that take connections and
// say nothing, or claim messages that they do not have, shows those that there are.
func TestCommandManyServersDown(t *testing.T) {
	t.Parallel()
	s := deadServer(t, 300)
	everywhere := func() net.Listener { // at each address of 127.0.0.0/8
		l, err := net.Listen("tcp4", "0.0.0.0:0")
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	silent, claims := everywhere(), everywhere()
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	answers := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/info" {
			fmt.Fprintf(w, `{"tcp_port":%d}`, port(silent))
			return
		}
		fmt.Fprint(w, `{"topics":[{"topic_name":"dead","channels":[{"channel_name":"redrive","depth":9223372036854775807}]}]}`)
	})}
	go func() { _ = answers.Serve(claims) }()
	t.Cleanup(func() { _ = answers.Close() })
	args := append(onNSQDs(s), "--timeout", "500ms")
	for i := range 100 {
		args = append(args, "--nsqd-http", fmt.Sprintf("127.0.1.%d:%d", i+1, port(claims)))
	}
	began := time.Now()
	runCommand(t, "", append(args, "dead", "ls", "dead", "-n", "0")...).want(t, 3, "orders/billing", "300 of ")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	eventually(t, func() bool { st := s.Channel("dead", "redrive"); return st.Depth == 300 && st.Clients == 0 }, "all dead letters to be back")
}
