package nsqxtest_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/nsqxtest"
)

func TestActions(t *testing.T) {
	for _, tt := range []struct {
		name    string
		command string
		action  nsqxtest.Action
		hears   string
		stays   bool // the message stays in flight
	}{
		{"zero", "FIN", nsqxtest.Action{}, "", false},
		{"proceed", "FIN", nsqxtest.Proceed(), "", false},
		{"fail", "FIN", nsqxtest.Fail("E_FIN_FAILED no"), "error E_FIN_FAILED no", true},
		{"fail fatally", "FIN", nsqxtest.Fail("E_INVALID no"), "error E_INVALID no, EOF", true},
		{"respond", "FIN", nsqxtest.Respond("fine"), "fine", true},
		{"drop", "FIN", nsqxtest.Drop(), "", true},
		{"hang up", "FIN", nsqxtest.HangUp(), "EOF", true},
		{"reset", "FIN", nsqxtest.Reset(), "reset", true},
		{"for all commands", "", nsqxtest.Drop(), "", true},
		{"for another command", "REQ", nsqxtest.Drop(), "", false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s, c := take(t, "")
			var asked []string
			s.On(tt.command, func(c *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
				asked = append(asked, cmd.String()+" of "+c.Topic()+"/"+c.Channel())
				return tt.action
			})
			c.send("FIN %s\n", id(1))
			want(t, "the client heard", strings.Join(c.got(), ", "), tt.hears)
			want(t, "in flight", s.Stats("orders", "billing").InFlight == 1, tt.stays)
			want(t, "recorded", len(s.Commands("FIN")), 1)
			if tt.command == "REQ" {
				wantList(t, "asked", asked)
			} else {
				wantList(t, "asked", asked, "FIN "+id(1)+" of orders/billing")
			}
		})
		bubble(t, tt.name+", later", func(t *testing.T) {
			s, c := take(t, "")
			s.On(tt.command, func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return tt.action.After(time.Second) })
			c.send("FIN %s\n", id(1))
			if tt.command != "REQ" {
				time.Sleep(time.Second - 1)
				c.want()
				want(t, "in flight", s.Stats("orders", "billing").InFlight, 1)
				time.Sleep(time.Nanosecond)
			}
			want(t, "the client heard", strings.Join(c.got(), ", "), tt.hears)
			want(t, "in flight later", s.Stats("orders", "billing").InFlight == 1, tt.stays)
		})
	}
	bubble(t, "no more", func(t *testing.T) {
		s, c := take(t, "")
		s.On("FIN", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.Drop() })
		s.On("FIN", nil)
		c.send("FIN %s\n", id(1))
		synctest.Wait()
		want(t, "finished", s.Stats("orders", "billing").Finished, 1)
	})
	bubble(t, "a delay ends with the connection", func(t *testing.T) {
		s, c := take(t, "")
		s.On("FIN", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Proceed().After(time.Hour)
		})
		c.send("FIN %s\n", id(1))
		synctest.Wait()
		s.Disconnect()
		start := time.Now()
		s.Close()
		want(t, "Close took", time.Since(start), 0)
	})
}

func TestDisconnect(t *testing.T) {
	for hears, end := range map[string]func(*nsqxtest.Server){
		"EOF":   (*nsqxtest.Server).Disconnect,
		"reset": (*nsqxtest.Server).ResetConns,
	} {
		bubble(t, hears, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			a, b := subscribed(t, s, ""), subscribed(t, s, "")
			s.Freeze(nsqxtest.BothWays) // makes no difference
			end(s)
			a.want(hears)
			b.want(hears)
			want(t, "connections", len(s.Conns()), 0)
			want(t, "subscribers", s.Stats("orders", "billing").Subscribers, 0)
		})
	}
	bubble(t, "one of two", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		a, b := subscribed(t, s, ""), subscribed(t, s, "")
		s.Conns()[1].Disconnect()
		a.want()
		b.want("EOF")
		want(t, "the other's ordinal", s.Conns()[0].N(), 1)
	})
}

func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := subscribed(t, s, "")
		s.Refuse(true)
		if _, err := s.DialContext(t.Context(), "tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), s.Addr()) {
			t.Errorf("got %v, want a refused connection to %s", err, s.Addr())
		}
		s.Refuse(false)
		subscribed(t, s, "")
		want(t, "dials", s.Dials(), 3)
		c.want()
	})
}

func TestFreeze(t *testing.T) {
	bubble(t, "to the server", func(t *testing.T) {
		s, c := take(t, "")
		s.Freeze(nsqxtest.ToServer)
		c.send("FIN %s\n", id(1))
		s.Publish("orders", []byte("y"))
		synctest.Wait()
		want(t, "commands", len(s.Commands("FIN")), 0)
		s.Thaw(nsqxtest.ToServer)
		c.want("message 2 attempt 1: y")
	})
	bubble(t, "to the client", func(t *testing.T) {
		s, c := take(t, "")
		s.Conns()[0].Freeze(nsqxtest.ToClient)
		s.Publish("orders", []byte("y"))
		c.send("FIN %s\n", id(1))
		c.want()
		want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, InFlight: 1, Finished: 1})
		other := subscribed(t, s, "") // is not frozen
		other.want()
		s.Conns()[0].Thaw(nsqxtest.ToClient)
		c.want("message 2 attempt 1: y")
	})
	// Both sides think that the other one is gone; the end of the connection gets through after the thaw only.
	for name, d := range map[string]nsqxtest.Direction{"to the server": nsqxtest.ToServer, "both": nsqxtest.BothWays} {
		bubble(t, "for long, "+name, func(t *testing.T) {
			s, c := take(t, "", nsqxtest.WithMessageTimeout(70*time.Second))
			s.Freeze(d)
			c.send("FIN %s\n", id(1))
			time.Sleep(time.Minute - 1)
			synctest.Wait()
			want(t, "connections", len(s.Conns()), 1)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			want(t, "connections after a minute", len(s.Conns()), 0)
			want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{InFlight: 1})
			if d == nsqxtest.BothWays {
				c.want()
			} else {
				c.want("EOF")
			}
			s.Thaw(d)
			c.got()
			synctest.Wait()
			want(t, "finished", s.Stats("orders", "billing").Finished, 0)
		})
	}
	bubble(t, "to the client, for long", func(t *testing.T) {
		s, c := take(t, "", nsqxtest.WithMessageTimeout(70*time.Second))
		s.Freeze(nsqxtest.ToClient)
		time.Sleep(time.Minute)
		synctest.Wait()
		want(t, "connections", len(s.Conns()), 0) // no heartbeat was answered
		c.want()
		s.Thaw(nsqxtest.ToClient)
		c.want("EOF")
	})
}

func TestWriteRaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := take(t, "")
		s.Conns()[0].WriteRaw([]byte("\x00\x00\x00\x08\x00\x00\x00\x00rawe"))
		c.want("rawe")
		want(t, "RDY", s.Conns()[0].RDY(), 1)
		want(t, "in flight", s.Conns()[0].InFlight(), 1)
		want(t, "server", s.Conns()[0].Server(), s)
	})
}

func TestAwait(t *testing.T) {
	empty := func(st nsqxtest.ChannelStats) bool { return st.InFlight == 0 }
	bubble(t, "comes", func(t *testing.T) {
		s, c := take(t, "")
		time.AfterFunc(9*time.Second, func() { c.send("FIN %s\n", id(1)) })
		want(t, "finished", s.Await("orders", "billing", empty).Finished, 1)
	})
	bubble(t, "does not come", func(t *testing.T) {
		tb := new(recorder)
		s := nsqxtest.NewServer(tb, nsqxtest.WithPatience(3*time.Second))
		start := time.Now()
		ended := make(chan struct{})
		go func() { // ended by Fatalf
			defer close(ended)
			s.Await("orders", "billing", func(nsqxtest.ChannelStats) bool { return false })
			t.Error("Await has returned")
		}()
		<-ended
		want(t, "took", time.Since(start), 3*time.Second)
		tb.end()
		if got := tb.reported(); len(got) != 1 || !strings.Contains(got[0], "orders/billing has not come") {
			t.Errorf("reported %q", got)
		}
	})
}

func TestReceivedFails(t *testing.T) {
	for name, n := range map[string]int{"too few": 3, "not decodable": 2} {
		bubble(t, name, func(t *testing.T) {
			tb := new(recorder)
			s := nsqxtest.NewServer(tb)
			c := connect(t, s)
			c.identify("")
			c.send("%s", with("PUB orders", "1")+with("PUB orders", "one"))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				nsqxtest.Received(tb, s, "orders", number{}, n)
				t.Error("Received has returned")
			}()
			<-ended
			if got := tb.reported(); len(got) != 1 || !strings.Contains(got[0], "orders") {
				t.Errorf("reported %q", got)
			}
			c.close()
			tb.end()
		})
	}
}

func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		a, b := subscribed(t, s, ""), connect(t, s)
		time.Sleep(time.Second)
		a.send("RDY 5\n")
		synctest.Wait()
		b.identify("")
		b.send("%s", with("PUB orders", "x"))
		synctest.Wait()

		var lines []string
		for _, cmd := range s.Commands() {
			lines = append(lines, cmd.String())
		}
		wantList(t, "commands", lines, "IDENTIFY", "SUB orders billing", "RDY 5", "IDENTIFY", "PUB orders")
		rdy := s.Commands("RDY")[0]
		want(t, "time", time.Since(rdy.Time), 0)
		want(t, "connection", rdy.Conn, 1)
		want(t, "parameter", rdy.Param(0)+rdy.Param(1), "5")
		of2 := s.CommandsWhere(func(cmd nsqxtest.Command) bool { return cmd.Conn == 2 })
		want(t, "of the second connection", len(of2), 2)
		want(t, "body", string(of2[1].Body), "x")
	})
}
