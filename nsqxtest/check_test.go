package nsqxtest_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

// Tests of check.go and read.go.

// TestChecks breaks each rule once: the server reports that violation and nothing else, and the
// client gets the answer of nsqd.
func TestChecks(t *testing.T) {
	type steps func(s *nsqxtest.Server, c *client)
	send := func(text string) steps {
		return func(_ *nsqxtest.Server, c *client) { c.send("%s", text) }
	}
	// delivered sends text after a delivery.
	delivered := func(text string) steps {
		return func(s *nsqxtest.Server, c *client) {
			s.Publish("orders", []byte("x"))
			c.send("RDY 1\n")
			c.want("message 1 attempt 1: x")
			c.send("%s", text)
		}
	}
	const fresh, identified, sub = 0, 1, 2
	const closed = " | EOF"
	tests := []struct {
		name   string
		from   int // state of the client
		opts   []nsqxtest.ServerOption
		steps  steps
		check  nsqxtest.Check
		report string // part of it
		gets   string // beginning of what the client gets, joined with " | "
	}{
		{"NOP before IDENTIFY", fresh, nil, send("NOP\n"), nsqxtest.CheckHandshake, "NOP before IDENTIFY", ""},
		{"two IDENTIFYs", identified, nil, send(with("IDENTIFY", "{}")), nsqxtest.CheckHandshake, "a second IDENTIFY", "OK"},
		{"IDENTIFY after SUB", sub, nil, send(with("IDENTIFY", "{}")), nsqxtest.CheckHandshake, "cannot IDENTIFY", "error E_INVALID cannot IDENTIFY in current state" + closed},
		{"NOP before AUTH", identified, []nsqxtest.ServerOption{nsqxtest.WithAuth("s")}, send("NOP\n"), nsqxtest.CheckHandshake, "NOP before AUTH", ""},
		{"two AUTHs", identified, []nsqxtest.ServerOption{nsqxtest.WithAuth("s")}, send(with("AUTH", "s") + with("AUTH", "s")), nsqxtest.CheckHandshake, "AUTH already set", "{"},
		{"AUTH not requested", identified, nil, send(with("AUTH", "s")), nsqxtest.CheckHandshake, "AUTH disabled", "error E_AUTH_DISABLED AUTH disabled" + closed},
		{"NOP before deflate", fresh, nil, send(with("IDENTIFY", `{"feature_negotiation":true,"deflate":true}`) + "NOP\n"), nsqxtest.CheckHandshake, "4 bytes were sent before the switch", `{`},

		{"RDY before SUB", identified, nil, send("RDY 1\n"), nsqxtest.CheckState, "cannot RDY", "error E_INVALID cannot RDY in current state" + closed},
		{"FIN before SUB", identified, nil, send("FIN " + id(1) + "\n"), nsqxtest.CheckState, "cannot FIN", "error E_INVALID cannot FIN in current state" + closed},
		{"CLS before SUB", identified, nil, send("CLS\n"), nsqxtest.CheckState, "cannot CLS", "error E_INVALID cannot CLS in current state" + closed},
		{"two SUBs", sub, nil, send("SUB orders audit\n"), nsqxtest.CheckState, "cannot SUB", "error E_INVALID cannot SUB in current state" + closed},
		{"two CLSs", sub, nil, send("CLS\nCLS\n"), nsqxtest.CheckState, "cannot CLS", "CLOSE_WAIT | error E_INVALID cannot CLS in current state" + closed},
		{"SUB without heartbeats", fresh, nil, send(with("IDENTIFY", `{"heartbeat_interval":-1}`) + "SUB orders billing\n"), nsqxtest.CheckState, "heartbeats disabled", "OK | error E_INVALID cannot SUB with heartbeats disabled" + closed},

		{"unknown command", identified, nil, send("GET / HTTP/1.1\r\n"), nsqxtest.CheckSyntax, "GET", "error E_INVALID invalid command GET" + closed},
		{"line too long", identified, nil, send(strings.Repeat("N", 20_000)), nsqxtest.CheckSyntax, "line of more than", "EOF"},
		{"malformed IDENTIFY", fresh, nil, send(with("IDENTIFY", "[]")), nsqxtest.CheckSyntax, "decode", "error E_BAD_BODY IDENTIFY failed to decode JSON body" + closed},
		{"heartbeat too often", fresh, nil, send(with("IDENTIFY", `{"heartbeat_interval":999}`)), nsqxtest.CheckSyntax, "(999)", "error E_BAD_BODY IDENTIFY heartbeat interval (999) is invalid" + closed},
		{"bad topic", identified, nil, send("SUB or/ders billing\n"), nsqxtest.CheckSyntax, "or/ders", `error E_BAD_TOPIC SUB topic name "or/ders" is not valid` + closed},
		{"long channel", identified, nil, send("SUB orders " + strings.Repeat("x", 65) + "\n"), nsqxtest.CheckSyntax, "xxx", `error E_BAD_CHANNEL`},
		{"only #ephemeral", identified, nil, send("SUB orders #ephemeral\n"), nsqxtest.CheckSyntax, "#ephemeral", `error E_BAD_CHANNEL`},
		{"empty PUB", identified, nil, send(with("PUB orders", "")), nsqxtest.CheckSyntax, "size 0", "error E_BAD_MESSAGE PUB invalid message body size 0" + closed},
		{"large PUB", identified, []nsqxtest.ServerOption{nsqxtest.WithMaxMessageSize(3)}, send(with("PUB orders", "four")), nsqxtest.CheckSyntax, "4 > 3", "error E_BAD_MESSAGE PUB message too big 4 > 3" + closed},
		{"MPUB with a wrong size", identified, nil, send(with("MPUB orders", "\x00\x00\x00\x02\x00\x00\x00\x01x\x00\x00\x00\x09y")), nsqxtest.CheckSyntax, "message(1) body size 9", "error E_BAD_MESSAGE"},
		{"MPUB without messages", identified, nil, send(with("MPUB orders", "\x00\x00\x00\x00")), nsqxtest.CheckSyntax, "message count 0", "error E_BAD_BODY"},
		{"DPUB delay too long", identified, nil, send(with("DPUB orders 3600001", "x")), nsqxtest.CheckSyntax, "3600001", "error E_INVALID DPUB timeout 3600001 out of range 0-3600000" + closed},
		{"DPUB delay is no number", identified, nil, send(with("DPUB orders soon", "x")), nsqxtest.CheckSyntax, "soon", "error E_INVALID DPUB could not parse timeout soon" + closed},
		{"short id", sub, []nsqxtest.ServerOption{nsqxtest.WithoutChecks(nsqxtest.CheckAnswers)}, send("FIN 7\n"), nsqxtest.CheckSyntax, "invalid message ID", "error E_INVALID invalid message ID" + closed},
		{"negative REQ", sub, nil, delivered("REQ " + id(1) + " -1\n"), nsqxtest.CheckSyntax, "-1", "error E_INVALID REQ could not parse timeout -1" + closed},
		{"too few parameters", sub, nil, delivered("REQ " + id(1) + "\n"), nsqxtest.CheckSyntax, "REQ insufficient", "error E_INVALID REQ insufficient number of params" + closed},
		{"SUB without a channel", identified, nil, send("SUB orders\n"), nsqxtest.CheckSyntax, "SUB insufficient", "error E_INVALID SUB insufficient number of parameters" + closed},
		{"DPUB without a delay", identified, nil, send(with("DPUB orders", "x")), nsqxtest.CheckSyntax, "DPUB insufficient", "error E_INVALID DPUB insufficient number of parameters" + closed},
		{"PUB without a topic", identified, nil, send(with("PUB ", "x")), nsqxtest.CheckSyntax, "PUB topic name", `error E_BAD_TOPIC PUB topic name "" is not valid` + closed},

		{"RDY above the maximum", sub, []nsqxtest.ServerOption{nsqxtest.WithMaxRDY(10)}, send("RDY 11\n"), nsqxtest.CheckRDY, "11", "error E_INVALID RDY count 11 out of range 0-10" + closed},
		{"negative RDY", sub, nil, send("RDY -1\n"), nsqxtest.CheckRDY, "-1", "error E_INVALID RDY could not parse count -1" + closed},
		{"RDY after CLS", sub, nil, send("CLS\nRDY 0\n"), nsqxtest.CheckRDY, "RDY 0 after CLS", "CLOSE_WAIT"},

		{"FIN of an unknown message", sub, nil, send("FIN " + id(7) + "\n"), nsqxtest.CheckAnswers, "not delivered on this connection", "error E_FIN_FAILED FIN " + id(7) + " failed ID not in flight"},
		{"TOUCH of an unknown message", sub, nil, send("TOUCH " + id(7) + "\n"), nsqxtest.CheckAnswers, "not delivered on this connection", "error E_TOUCH_FAILED TOUCH " + id(7) + " failed ID not in flight"},
		{"two FINs", sub, nil, delivered("FIN " + id(1) + "\nFIN " + id(1) + "\n"), nsqxtest.CheckAnswers, "answered before", "error E_FIN_FAILED"},
		{"REQ after FIN", sub, nil, delivered("FIN " + id(1) + "\nREQ " + id(1) + " 0\n"), nsqxtest.CheckAnswers, "answered before", "error E_REQ_FAILED"},
		{"TOUCH after REQ", sub, nil, delivered("RDY 0\nREQ " + id(1) + " 0\nTOUCH " + id(1) + "\n"), nsqxtest.CheckAnswers, "answered before", "error E_TOUCH_FAILED"},

		{"no heartbeat answer", sub, nil, func(_ *nsqxtest.Server, c *client) {
			c.silent.Store(true)
			time.Sleep(61 * time.Second)
		}, nsqxtest.CheckHeartbeat, "no command for 1m0s", "heartbeat"},
	}
	for _, tt := range tests {
		play := func(t *testing.T, opts ...nsqxtest.ServerOption) ([]nsqxtest.Violation, []string) {
			tb := new(recorder)
			s := nsqxtest.NewServer(tb, append(opts, tt.opts...)...)
			c := connect(t, s)
			if tt.from >= identified {
				c.identify("")
				c.want("OK")
			}
			if tt.from >= sub {
				c.send("SUB orders billing\n")
				c.want("OK")
			}
			tt.steps(s, c)
			if got := strings.Join(c.got(), " | "); !strings.HasPrefix(got, tt.gets) {
				t.Errorf("the client got %q, want %q", got, tt.gets)
			}
			c.close()
			tb.end()
			return s.Violations(), tb.reported()
		}
		check.Bubble(t, tt.name, func(t *testing.T) {
			violations, reported := play(t)
			if len(violations) != 1 || len(reported) != 1 {
				t.Fatalf("got %v, reported %q, want one", violations, reported)
			}
			v := violations[0]
			check.Want(t, "check", v.Check, tt.check)
			check.Want(t, "connection", v.Conn, 1)
			if !strings.Contains(v.Text, tt.report) || reported[0] != "nsqxtest: nsqd-1.test:4150: "+v.String() {
				t.Errorf("got %q, reported %q, want %q", v.Text, reported[0], tt.report)
			}
		})
		check.Bubble(t, tt.name+", check off", func(t *testing.T) {
			if violations, reported := play(t, nsqxtest.WithoutChecks(tt.check)); len(violations)+len(reported) > 0 {
				t.Errorf("got %v, reported %q, want nothing", violations, reported)
			}
		})
	}
}

func TestWithoutChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithoutChecks())
		c := subscribed(t, s, "")
		c.send("FIN %s\nCLS\nRDY 1\nCLS\n", id(1))
		c.want("error E_FIN_FAILED FIN "+id(1)+" failed ID not in flight", "CLOSE_WAIT", "error E_INVALID cannot CLS in current state", "EOF")
		check.Want(t, "violations", len(s.Violations()), 0)
	})
}

func TestCheckMagic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := new(recorder)
		s := nsqxtest.NewServer(tb)
		nc, err := s.DialContext(t.Context(), "tcp", "anywhere:1")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\n")
		answer, err := io.ReadAll(nc)
		if want := "\x00\x00\x00\x12\x00\x00\x00\x01E_BAD_PROTOCOL"; string(answer) != want || err != nil {
			t.Errorf("got %q, %v, want %q", answer, err, want)
		}
		_ = nc.Close()
		violated(t, s, tb, nsqxtest.CheckSyntax, "E_BAD_PROTOCOL")
	})
}

func TestCheckReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := new(recorder)
		s := nsqxtest.NewServer(tb)
		nc, err := s.DialContext(t.Context(), "tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_, _ = io.WriteString(nc, "  V2"+with("IDENTIFY", "{}"))
		synctest.Wait()
		s.Conns()[0].WriteRaw(make([]byte, 100_000))
		time.Sleep(30*time.Second - 1)
		synctest.Wait()
		check.Want(t, "violations before the end of the interval", len(s.Violations()), 0)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		violated(t, s, tb, nsqxtest.CheckHeartbeat, "has not read")
	})
}

func TestCheckLeftover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := new(recorder)
		s := nsqxtest.NewServer(tb)
		subscribed(t, s, "")
		publisher := connect(t, s)
		publisher.identify("")
		start := time.Now()
		violated(t, s, tb, nsqxtest.CheckLeftover, "still subscribed to orders/billing")
		check.Want(t, "Close took", time.Since(start), 5*time.Second)
		publisher.want("OK", "EOF")
	})
}
