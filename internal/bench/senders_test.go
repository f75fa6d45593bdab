package main

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// connected returns both ends of a loopback connection.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// newPeers returns the client's ends of several connections to one sender.
func newPeers(t *testing.T, n int, j job) (peers []*peer, end func() (senderReport, error)) {
	t.Helper()
	var ends []net.Conn
	for range n {
		near, far := connected(t)
		peers = append(peers, &peer{t: t, conn: near.(*net.TCPConn)})
		ends = append(ends, far)
	}
	type served struct {
		report senderReport
		err    error
	}
	done := make(chan served, 1)
	go func() {
		report, err := serve(n, func(nth int) (net.Conn, error) { return ends[nth], nil }, j)
		done <- served{report, err}
	}()
	return peers, func() (senderReport, error) {
		for _, p := range peers {
			p.conn.CloseWrite()
		}
		s := <-done
		return s.report, s.err
	}
}

// TestSeveralConnections: each connection gets its part of the messages, and the first one gets the
// marks, alone.
func TestSeveralConnections(t *testing.T) {
	j := job{Messages: 5, Size: 1}
	peers, end := newPeers(t, 2, j)
	for _, p := range peers {
		p.write("  V2RDY 1\n")
	}
	seen := make(map[string]bool)
	answer := func(nth int, first byte) {
		id := peers[nth].message(first)
		if seen[id] {
			t.Errorf("%s twice", id)
		}
		seen[id] = true
		peers[nth].write("FIN " + id + "\n")
	}
	answer(0, ordinary) // the warm-up: one message
	answer(0, startMark)
	for _, nth := range []int{0, 1, 0, 1, 0} {
		answer(nth, ordinary)
	}
	answer(0, stopMark)
	report, err := end()
	if err != nil {
		t.Fatal(err)
	}
	if err := report.check(j); err != nil {
		t.Error(err)
	}
}

// TestRDYWhileWaiting: a lower RDY applies although it arrived while its sender waited for the
// others.
func TestRDYWhileWaiting(t *testing.T) {
	j := job{Messages: 4, Size: 1}
	peers, end := newPeers(t, 2, j)
	peers[1].write("  V2RDY 2\nRDY 0\n") // waits: the other sender has the warm-up
	peers[0].write("  V2RDY 1\n")
	peers[0].write("FIN " + peers[0].message(ordinary) + "\n")
	peers[0].write("FIN " + peers[0].message(startMark) + "\n")
	for range 2 {
		peers[0].write("FIN " + peers[0].message(ordinary) + "\n")
	}
	peers[1].silent()
	peers[1].write("RDY 1\n")
	for range 2 {
		peers[1].write("FIN " + peers[1].message(ordinary) + "\n")
	}
	peers[0].write("FIN " + peers[0].message(stopMark) + "\n")
	if report, err := end(); err != nil || report.check(j) != nil {
		t.Errorf("%v, %v", err, report.check(j))
	}
}

// TestFINOnOtherConnection: a FIN must come on the connection of its message.
func TestFINOnOtherConnection(t *testing.T) {
	j := job{Messages: 1, Size: 1}
	peers, end := newPeers(t, 2, j)
	peers[1].write("  V2")
	peers[0].write("  V2RDY 1\n")
	id := peers[0].message(ordinary)
	peers[1].write("FIN " + id + "\n")
	peers[0].write("FIN " + id + "\n")
	for _, first := range []byte{startMark, ordinary, stopMark} {
		peers[0].write("FIN " + peers[0].message(first) + "\n")
	}
	report, err := end()
	if err != nil {
		t.Fatal(err)
	}
	if report.Unknown != 1 || report.check(j) == nil {
		t.Errorf("report: %+v, check %v", report, report.check(j))
	}
}

// TestSendersFail: one failed connection ends the others.
func TestSendersFail(t *testing.T) {
	peers, end := newPeers(t, 2, job{Messages: 1, Size: 1})
	peers[0].write("  V2RDY 1\n")
	peers[1].write("  V1")
	if _, err := end(); err == nil {
		t.Error("no error")
	}
}

func TestBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newBarrier(3)
		var through atomic.Int64
		for range 2 {
			go func() {
				for range 2 {
					if m.wait(t.Context()) == nil {
						through.Add(1)
					}
				}
			}()
		}
		for _, want := range []int64{0, 2} {
			synctest.Wait()
			if got := through.Load(); got != want {
				t.Errorf("%d are through, want %d", got, want)
			}
			if err := m.wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if got := through.Load(); got != 4 {
			t.Errorf("%d are through, want 4", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want it to end", err)
		}
	})
}
