package nsqxtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestFreeze(t *testing.T) {
	check.Bubble(t, "to the server", func(t *testing.T) {
		s, c := oneInFlight(t, "")
		s.Freeze(nsqxtest.ToServer)
		c.send("FIN %s\n", id(1))
		s.Publish("orders", []byte("y"))
		synctest.Wait()
		check.Want(t, "commands", len(s.Commands("FIN")), 0)
		s.Thaw(nsqxtest.ToServer)
		c.want("message 2 attempt 1: y")
	})
	check.Bubble(t, "to the client", func(t *testing.T) {
		s, c := oneInFlight(t, "")
		s.Conns()[0].Freeze(nsqxtest.ToClient)
		s.Publish("orders", []byte("y"))
		c.send("FIN %s\n", id(1))
		c.want()
		check.Want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{Subscribers: 1, InFlight: 1, Finished: 1})
		other := subscribed(t, s, "") // not frozen
		other.want()
		s.Conns()[0].Thaw(nsqxtest.ToClient)
		c.want("message 2 attempt 1: y")
	})
	// Both sides time out; the end of the connection arrives only after the thaw.
	for name, d := range map[string]nsqxtest.Direction{"to the server": nsqxtest.ToServer, "both": nsqxtest.BothWays} {
		check.Bubble(t, "past the timeout, "+name, func(t *testing.T) {
			s, c := oneInFlight(t, "", nsqxtest.WithMessageTimeout(70*time.Second))
			s.Freeze(d)
			c.send("FIN %s\n", id(1))
			time.Sleep(time.Minute - 1)
			synctest.Wait()
			check.Want(t, "connections", len(s.Conns()), 1)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			check.Want(t, "connections after a minute", len(s.Conns()), 0)
			check.Want(t, "stats", s.Stats("orders", "billing"), nsqxtest.ChannelStats{InFlight: 1})
			if d == nsqxtest.BothWays {
				c.want()
			} else {
				c.want("EOF")
			}
			s.Thaw(d)
			c.got()
			synctest.Wait()
			check.Want(t, "finished", s.Stats("orders", "billing").Finished, 0)
		})
	}
	check.Bubble(t, "past the timeout, to the client", func(t *testing.T) {
		s, c := oneInFlight(t, "", nsqxtest.WithMessageTimeout(70*time.Second))
		s.Freeze(nsqxtest.ToClient)
		time.Sleep(time.Minute)
		synctest.Wait()
		check.Want(t, "connections", len(s.Conns()), 0) // no heartbeat was answered
		c.want()
		s.Thaw(nsqxtest.ToClient)
		c.want("EOF")
	})
}

func TestWriteRaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := oneInFlight(t, "")
		s.Conns()[0].WriteRaw([]byte("\x00\x00\x00\x08\x00\x00\x00\x00rawe"))
		c.want("rawe")
		check.Want(t, "RDY", s.Conns()[0].RDY(), 1)
		check.Want(t, "in flight", s.Conns()[0].InFlight(), 1)
		check.Want(t, "server", s.Conns()[0].Server(), s)
	})
}

func TestHeartbeats(t *testing.T) {
	beats := func(every time.Duration, identify string, opts ...nsqxtest.ServerOption) func(*testing.T) {
		return func(t *testing.T) {
			s := nsqxtest.NewServer(t, opts...)
			c := subscribed(t, s, identify)
			time.Sleep(10*every + every/2)
			synctest.Wait()
			check.Want(t, "answers", len(s.Commands("NOP")), 10)
			check.Want(t, "connections", len(s.Conns()), 1)
			c.want()
		}
	}
	check.Bubble(t, "default of nsqd", beats(30*time.Second, ""))
	check.Bubble(t, "set by the server", beats(time.Minute, "", nsqxtest.WithHeartbeat(time.Minute)))
	check.Bubble(t, "set by the client", beats(time.Second, `"heartbeat_interval":1000`))
	check.Bubble(t, "off", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := connect(t, s)
		c.identify(`"heartbeat_interval":-1`)
		time.Sleep(time.Hour)
		c.want("OK")
		check.Want(t, "connections", len(s.Conns()), 1)
	})
}
