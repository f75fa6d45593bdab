package nsqxtest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
)

func TestAwait(t *testing.T) {
	empty := func(st nsqxtest.ChannelStats) bool { return st.InFlight == 0 }
	check.Bubble(t, "in time", func(t *testing.T) {
		s, c := oneInFlight(t, "")
		time.AfterFunc(9*time.Second, func() { c.send("FIN %s\n", id(1)) })
		check.Want(t, "finished", s.Await("orders", "billing", empty).Finished, 1)
	})
	check.Bubble(t, "too late", func(t *testing.T) {
		tb := new(recorder)
		s := nsqxtest.NewServer(tb, nsqxtest.WithPatience(3*time.Second))
		start := time.Now()
		ended := make(chan struct{})
		go func() { // Fatalf ends it
			defer close(ended)
			s.Await("orders", "billing", func(nsqxtest.ChannelStats) bool { return false })
			t.Error("Await has returned")
		}()
		<-ended
		check.Want(t, "took", time.Since(start), 3*time.Second)
		tb.end()
		if got := tb.reported(); len(got) != 1 || !strings.Contains(got[0], "orders/billing did not reach") {
			t.Errorf("reported %q", got)
		}
	})
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
		check.Want(t, "time", time.Since(rdy.Time), 0)
		check.Want(t, "connection", rdy.Conn, 1)
		check.Want(t, "parameter", rdy.Param(0)+rdy.Param(1), "5")
		of2 := s.CommandsWhere(func(cmd nsqxtest.Command) bool { return cmd.Conn == 2 })
		check.Want(t, "of the second connection", len(of2), 2)
		check.Want(t, "body", string(of2[1].Body), "x")
	})
}
