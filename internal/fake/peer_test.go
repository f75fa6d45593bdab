package fake_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/pipe"
)

// Tests of peer.go and encode.go.

func TestNext(t *testing.T) {
	p, _ := peer(t, "  V2"+
		"IDENTIFY\n"+body("{}")+
		"AUTH\n"+body("secret")+
		"SUB orders billing#ephemeral\n"+
		"RDY 1\nNOP\nFIN 0123456789abcdef\n"+
		"PUB orders\n"+body("a\nb")+
		"MPUB orders\n"+body("")+
		"DPUB orders 1000\n"+body("later")+
		"CLS\nodd  spaces\n")
	want := []fake.Command{
		{"IDENTIFY", []string{}, []byte("{}")},
		{"AUTH", []string{}, []byte("secret")},
		{"SUB", []string{"orders", "billing#ephemeral"}, nil},
		{"RDY", []string{"1"}, nil},
		{"NOP", []string{}, nil},
		{"FIN", []string{"0123456789abcdef"}, nil},
		{"PUB", []string{"orders"}, []byte("a\nb")},
		{"MPUB", []string{"orders"}, []byte{}},
		{"DPUB", []string{"orders", "1000"}, []byte("later")},
		{"CLS", []string{}, nil},
		{"odd", []string{"", "spaces"}, nil},
	}
	p.Magic()
	for _, w := range want {
		if got, err := p.Next(); err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("got %#v, %v; want %#v", got, err, w)
		}
	}
	for range 2 {
		if _, err := p.Next(); err != io.EOF {
			t.Errorf("at the end: %v, want io.EOF itself", err)
		}
	}
	if !reflect.DeepEqual(p.Log, want) {
		t.Errorf("Log is %v", p.Log)
	}
}

func TestNextMalformed(t *testing.T) {
	tests := map[string]struct{ input, want string }{
		"cut in the line":     {"FIN 0123", `in the line "FIN 0123"`},
		"endless line":        {strings.Repeat("x", 17<<10), "16384"},
		"cut in the size":     {"PUB t\n\x00\x00", "size of the body of PUB t: unexpected EOF"},
		"no body":             {"PUB t\n\x00\x00\x00\x05", "body of PUB t: unexpected EOF"},
		"cut in the body":     {"PUB t\n\x00\x00\x00\x05abc", "body of PUB t: unexpected EOF"},
		"body of 4 GiB":       {"PUB t\n\xff\xff\xff\xff", "a body of 4294967295 bytes"},
		"cut before a size":   {"AUTH\n", "unexpected EOF"},
		"command without \\n": {"NOP", "unexpected EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, _ := peer(t, tt.input)
			for range 2 {
				if _, err := p.Next(); err == nil || !strings.Contains(err.Error(), tt.want) || err == io.EOF {
					t.Errorf("error %v, want %q in it", err, tt.want)
				}
			}
			if p.HalfClosed() {
				t.Error("HalfClosed although a command was cut")
			}
			if len(p.Log) != 0 {
				t.Errorf("Log is %v", p.Log)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fake.NewNetwork(t, func(p *fake.Peer) {
			req := p.Identify(map[string]any{"max_rdy_count": 7, "snappy": true, "msg_timeout": nil})
			if req["client_id"] != "me" || req["sample_rate"] != 5.0 {
				t.Errorf("request is %v", req)
			}
		})
		nc := dial(t, n)
		fmt.Fprint(nc, "  V2IDENTIFY\n"+body(`{"feature_negotiation":true,"client_id":"me","sample_rate":5}`))
		frame, err := io.ReadAll(nc)
		if err != nil || len(frame) < 8 {
			t.Fatalf("answer %q, %v", frame, err)
		}
		if size := binary.BigEndian.Uint32(frame); int(size) != len(frame)-4 || binary.BigEndian.Uint32(frame[4:]) != 0 {
			t.Errorf("answer %q is not one response frame", frame)
		}
		var got map[string]any
		if err := json.Unmarshal(frame[8:], &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"max_rdy_count": 7.0, "version": "1.3.0", "max_msg_timeout": 900000.0, "tls_v1": false,
			"deflate": false, "deflate_level": 0.0, "max_deflate_level": 6.0, "snappy": true, "sample_rate": 0.0,
			"auth_required": false, "output_buffer_size": 16384.0, "output_buffer_timeout": 250.0}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("answer %v\nwant   %v", got, want)
		}
		_ = nc.Close()
	})
}

func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		n := fake.NewNetwork(t, func(p *fake.Peer) {
			if p.N != 1 || p.Addr != "nsqd-1:4150" || p.Client == nil || p.Pipe == nil {
				t.Errorf("peer %d of %q, %v, %v", p.N, p.Addr, p.Client, p.Pipe)
			}
			topic, channel := p.Subscribe(nil)
			if topic != "orders" || channel != "billing" {
				t.Errorf("subscribed to %q, %q", topic, channel)
			}
			p.Expect("RDY")
			p.MessageAt(1, fake.ID(1), 1, []byte("hello"))
			if id := p.Expect("FIN").Params[0]; id != fake.ID(1) {
				t.Errorf("FIN of %q", id)
			}
			p.Expect("NOP")
			if !p.HalfClosed() {
				t.Error("the half-close of the client was not seen")
			}
			log = lines(p.Log)
		})
		nc := dial(t, n)
		defer nc.Close()
		fmt.Fprint(nc, "  V2IDENTIFY\n"+body("{}")+"SUB orders billing\nNOP\nRDY 1\nNOP\nFIN "+fake.ID(1)+"\nNOP\nCLS\n")
		_ = nc.(interface{ CloseWrite() error }).CloseWrite()
		ok := string(fake.Frame(0, []byte("OK")))
		wantAll(t, nc, ok+ok+string(fake.Message(1, fake.ID(1), 1, []byte("hello")))) // the end of the script closes the connection
		n.Wait()
		want := []string{"IDENTIFY", "SUB orders billing", "NOP", "RDY 1", "NOP", "FIN " + fake.ID(1), "NOP", "CLS"}
		if !slices.Equal(log, want) {
			t.Errorf("log %q\nwant %q", log, want)
		}
	})
}

// Unexpected input fails the test once and ends the connection; the rest of the script then does
// nothing.
func TestFailures(t *testing.T) {
	tests := map[string]struct {
		input  string
		script func(p *fake.Peer)
		want   string
	}{
		"magic":               {"  V1IDENTIFY\n", (*fake.Peer).Magic, `want magic, got "  V1"`},
		"magic cut":           {"  V", (*fake.Peer).Magic, "want magic, got unexpected EOF"},
		"other command":       {"NOP\nRDY 1\n", func(p *fake.Peer) { p.Expect("SUB") }, `want SUB, got "RDY 1"`},
		"no command":          {"NOP\n", func(p *fake.Peer) { p.Expect("SUB") }, "want SUB, got EOF"},
		"want NOP":            {"RDY 1\n", func(p *fake.Peer) { p.Expect("NOP") }, `want NOP, got "RDY 1"`},
		"no JSON":             {"  V2IDENTIFY\n" + body("{"), func(p *fake.Peer) { p.Identify(nil) }, `IDENTIFY "{"`},
		"no IDENTIFY":         {"  V2SUB a b\n", func(p *fake.Peer) { p.Subscribe(nil) }, `want IDENTIFY, got "SUB a b"`},
		"SUB of one":          {"  V2IDENTIFY\n" + body("{}") + "SUB a\n", func(p *fake.Peer) { p.Subscribe(nil) }, `got "SUB a"`},
		"answer no JSON":      {"  V2IDENTIFY\n" + body(`{"feature_negotiation":true}`), func(p *fake.Peer) { p.Identify(map[string]any{"x": make(chan int)}) }, "script's answer"},
		"bytes before TLS":    {"NOP\nNOP\n", func(p *fake.Peer) { p.Expect("NOP"); _ = p.UpgradeTLS(nil) }, "4 bytes came before the upgrade to TLS"},
		"bytes before snappy": {"NOP\nNOP\n", func(p *fake.Peer) { p.Expect("NOP"); p.UpgradeSnappy() }, "4 bytes came before the upgrade to snappy"},
		"bytes before deflate": {"NOP\nNOP\n", func(p *fake.Peer) { p.Expect("NOP"); p.UpgradeDeflate() },
			"4 bytes came before the upgrade to deflate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tb := &recorder{TB: t}
			p, client := peer(tb, tt.input)
			tt.script(p)
			tb.wantOne(t, tt.want)
			if cmd := p.Expect("FIN"); cmd.Name != "" {
				t.Errorf("Expect after a failure: %v", cmd)
			}
			if topic, channel := p.Subscribe(nil); topic+channel != "" {
				t.Errorf("Subscribe after a failure: %q, %q", topic, channel)
			}
			if p.HalfClosed() {
				t.Error("HalfClosed after a failure")
			}
			tb.wantOne(t, tt.want)
			if _, err := io.ReadAll(client); err != nil {
				t.Errorf("the connection is still there: %v", err)
			}
		})
	}
}

func TestFrames(t *testing.T) {
	tests := map[string]struct {
		write func(p *fake.Peer)
		want  string
	}{
		"response":  {func(p *fake.Peer) { p.Response("OK") }, "00000006 00000000 4f4b"},
		"error":     {func(p *fake.Peer) { p.Error("E_X") }, "00000007 00000001 455f58"},
		"heartbeat": {(*fake.Peer).Heartbeat, "0000000f 00000000 5f6865617274626561745f"},
		"message": {func(p *fake.Peer) { p.MessageAt(0x0102030405060708, "0123456789abcdef", 0x0a0b, []byte("hi")) },
			"00000020 00000002 0102030405060708 0a0b 30313233343536373839616263646566 6869"},
		"odd id":     {func(p *fake.Peer) { p.MessageAt(-1, "x", 0, nil) }, "0000000f 00000002 ffffffffffffffff 0000 78"},
		"other type": {func(p *fake.Peer) { p.Frame(-2, nil) }, "00000004 fffffffe"},
		"raw":        {func(p *fake.Peer) { p.Raw([]byte{1, 2}) }, "0102"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, client := peer(t, "")
			tt.write(p)
			p.Close()
			want := strings.ReplaceAll(tt.want, " ", "")
			if got, err := io.ReadAll(client); hex.EncodeToString(got) != want || err != nil {
				t.Errorf("got %x, %v; want %s", got, err, want)
			}
		})
	}
}

func TestMessageTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, client := peer(t, "")
		time.Sleep(time.Hour)
		p.Message(fake.ID(0xbeef), 1, []byte("b"))
		p.Close()
		want := fake.Message(time.Now().UnixNano(), "000000000000beef", 1, []byte("b"))
		if got, _ := io.ReadAll(client); string(got) != string(want) {
			t.Errorf("got %x, want %x", got, want)
		}
	})
}

func TestWriteErr(t *testing.T) {
	p, client := peer(t, "")
	p.Response("OK")
	if err := p.WriteErr(); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	for range 2 {
		p.Heartbeat() // fails no test
	}
	if p.WriteErr() == nil {
		t.Error("no error of a write to a closed connection")
	}
}

func TestHalfClosed(t *testing.T) {
	tests := map[string]struct {
		end  func(client *pipe.Conn)
		want bool
	}{
		"half-closed": {func(c *pipe.Conn) { _ = c.CloseWrite() }, true},
		"closed":      {func(c *pipe.Conn) { _ = c.Close() }, false},
		"reset":       {(*pipe.Conn).Reset, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := pipe.New()
				p := fake.NewPeer(t, server)
				var got bool
				go func() { got = p.HalfClosed(); p.Close() }()
				_, _ = io.WriteString(client, "FIN 0123456789abcdef\nNOP\n")
				synctest.Wait()
				tt.end(client)
				synctest.Wait()
				if got != tt.want {
					t.Errorf("HalfClosed is %v, want %v", got, tt.want)
				}
				if want := []string{"FIN 0123456789abcdef", "NOP"}; !reflect.DeepEqual(lines(p.Log), want) {
					t.Errorf("Log is %q, want %q", lines(p.Log), want)
				}
			})
		})
	}
}

func TestResetPipe(t *testing.T) {
	n := fake.NewNetwork(t, func(p *fake.Peer) {
		p.Magic()
		p.Response("OK")
		p.Reset()
	})
	nc := dial(t, n)
	fmt.Fprint(nc, "  V2")
	n.Wait()
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after Reset: %v", err)
	}
}
