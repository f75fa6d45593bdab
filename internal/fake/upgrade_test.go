package fake_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/internal/fake"
)

// Each layer alone, and compression over TLS, until a half-close.
func TestUpgrades(t *testing.T) {
	all := layers(t)
	for _, stack := range [][]layer{all[:1], all[1:2], all[2:], {all[0], all[1]}, {all[0], all[2]}} {
		var names []string
		for _, l := range stack {
			names = append(names, l.name)
		}
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { talkOver(t, stack) })
		})
	}
}

func talkOver(t *testing.T, stack []layer) {
	big := bytes.Repeat([]byte("abcdefgh"), 30_000)
	half := false
	n := fake.NewNetwork(t, func(p *fake.Peer) {
		p.Identify(nil)
		for _, l := range stack {
			l.server(p)
		}
		p.Expect("SUB")
		p.Response("OK")
		p.MessageAt(1, fake.ID(1), 1, big)
		p.Expect("FIN")
		half = p.HalfClosed()
		if p.WriteErr() != nil {
			t.Errorf("write: %v", p.WriteErr())
		}
	})
	nc := dial(t, n).(interface {
		net.Conn
		CloseWrite() error
	})
	ok := fake.Frame(fake.FrameResponse, []byte("OK"))
	fmt.Fprint(nc, "  V2IDENTIFY\n"+body("{}"))
	wantFrame(t, nc, ok)
	var rw io.ReadWriter = nc
	var ends []func()
	for _, l := range stack {
		r, w, end := l.client(rw)
		rw, ends = struct {
			io.Reader
			io.Writer
		}{r, w}, append(ends, end)
		wantFrame(t, r, ok)
	}
	send := func(s string) {
		_, _ = io.WriteString(rw, s)
		flush(rw.(struct {
			io.Reader
			io.Writer
		}).Writer)
	}
	send("SUB orders billing\n")
	wantFrame(t, rw, ok)
	wantFrame(t, rw, fake.Message(1, fake.ID(1), 1, big))
	send("FIN " + fake.ID(1) + "\nNOP\n")
	for i := len(ends) - 1; i >= 0; i-- {
		ends[i]()
	}
	_ = nc.CloseWrite()
	n.Wait()
	if !half {
		t.Error("the half-close was not seen")
	}
	_ = nc.Close()
}

func TestSnappyStream(t *testing.T) {
	p, client := peer(t, "")
	p.UpgradeSnappy()
	p.Close()
	got, _ := io.ReadAll(client)
	if magic := "\xff\x06\x00\x00sNaPpY"; !strings.HasPrefix(string(got), magic) || strings.Contains(string(got), "S2sTwO") {
		t.Errorf("stream %q does not begin as snappy's", got)
	}
}

func TestDeflateCut(t *testing.T) {
	var whole bytes.Buffer
	w, _ := flate.NewWriter(&whole, 6)
	_, _ = io.WriteString(w, "FIN 0123456789abcdef\n")
	_ = w.Flush()
	t.Run("at the flush", func(t *testing.T) {
		p, _ := peer(t, whole.String())
		p.UpgradeDeflate()
		if !p.HalfClosed() || len(p.Log) != 1 {
			t.Errorf("an end without final block is an end; log %q", lines(p.Log))
		}
	})
	t.Run("in a command", func(t *testing.T) {
		p, _ := peer(t, whole.String()[:10])
		p.UpgradeDeflate()
		if p.HalfClosed() || len(p.Log) != 0 {
			t.Errorf("a cut command passed; log %q", lines(p.Log))
		}
	})
}

func TestTLSRefused(t *testing.T) {
	server, _ := certificate(t)
	failed := make(chan error, 1)
	n := fake.NewNetwork(t, func(p *fake.Peer) {
		failed <- p.UpgradeTLS(server)
		if _, err := p.Next(); err == nil || p.WriteErr() == nil {
			t.Error("the connection still serves after a failed handshake")
		}
	})
	nc := dial(t, n)
	defer nc.Close()
	err := tls.Client(nc, &tls.Config{ServerName: "nsqd.test", RootCAs: x509.NewCertPool()}).HandshakeContext(context.Background())
	if err == nil {
		t.Error("the client trusts an unknown CA")
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the server's handshake: %v", err)
	}
}
