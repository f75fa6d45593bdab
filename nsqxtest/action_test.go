package nsqxtest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestActions(t *testing.T) {
	for _, tt := range []struct {
		name    string
		command string
		action  nsqxtest.Action
		gets    string
		remains bool // the message remains in flight
	}{
		{"zero", "FIN", nsqxtest.Action{}, "", false},
		{"proceed", "FIN", nsqxtest.Proceed(), "", false},
		{"fail", "FIN", nsqxtest.Fail("E_FIN_FAILED no"), "error E_FIN_FAILED no", true},
		{"fail and close", "FIN", nsqxtest.Fail("E_INVALID no"), "error E_INVALID no, EOF", true},
		{"respond", "FIN", nsqxtest.Respond("fine"), "fine", true},
		{"drop", "FIN", nsqxtest.Drop(), "", true},
		{"hang up", "FIN", nsqxtest.HangUp(), "EOF", true},
		{"reset", "FIN", nsqxtest.Reset(), "reset", true},
		{"for all commands", "", nsqxtest.Drop(), "", true},
		{"for another command", "REQ", nsqxtest.Drop(), "", false},
	} {
		check.Bubble(t, tt.name, func(t *testing.T) {
			s, c := oneInFlight(t, "")
			var asked []string
			s.On(tt.command, func(c *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
				asked = append(asked, cmd.String()+" of "+c.Topic()+"/"+c.Channel())
				return tt.action
			})
			c.send("FIN %s\n", id(1))
			check.Want(t, "the client got", strings.Join(c.got(), ", "), tt.gets)
			check.Want(t, "in flight", s.Stats("orders", "billing").InFlight == 1, tt.remains)
			check.Want(t, "logged", len(s.Commands("FIN")), 1)
			if tt.command == "REQ" {
				wantList(t, "asked", asked)
			} else {
				wantList(t, "asked", asked, "FIN "+id(1)+" of orders/billing")
			}
		})
		check.Bubble(t, tt.name+", delayed", func(t *testing.T) {
			s, c := oneInFlight(t, "")
			s.On(tt.command, func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return tt.action.After(time.Second) })
			c.send("FIN %s\n", id(1))
			if tt.command != "REQ" {
				time.Sleep(time.Second - 1)
				c.want()
				check.Want(t, "in flight", s.Stats("orders", "billing").InFlight, 1)
				time.Sleep(time.Nanosecond)
			}
			check.Want(t, "the client got", strings.Join(c.got(), ", "), tt.gets)
			check.Want(t, "in flight later", s.Stats("orders", "billing").InFlight == 1, tt.remains)
		})
	}
	check.Bubble(t, "hook removed", func(t *testing.T) {
		s, c := oneInFlight(t, "")
		s.On("FIN", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.Drop() })
		s.On("FIN", nil)
		c.send("FIN %s\n", id(1))
		synctest.Wait()
		check.Want(t, "finished", s.Stats("orders", "billing").Finished, 1)
	})
	check.Bubble(t, "a delay ends with the connection", func(t *testing.T) {
		s, c := oneInFlight(t, "")
		s.On("FIN", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Proceed().After(time.Hour)
		})
		c.send("FIN %s\n", id(1))
		synctest.Wait()
		s.Disconnect()
		start := time.Now()
		s.Close()
		check.Want(t, "Close took", time.Since(start), 0)
	})
}
