package conn_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/pipe"
)

// FuzzHandshake sends arbitrary bytes from the answer to IDENTIFY on, through compression, AUTH and
// SUB.
func FuzzHandshake(f *testing.F) {
	const secret = "canary-5ec7e7-0123456789"
	response := func(s string) string { return string(fake.Frame(fake.FrameResponse, []byte(s))) }
	for _, answer := range []string{
		"", "OK", "{", "null", "[]", "{}", `{"max_rdy_count":-5}`, `{"max_rdy_count":1e99}`, `{"msg_timeout":0}`, `{"msg_timeout":2147483647}`,
		`{"tls_v1":true}`, `{"snappy":true,"deflate":true}`, `{"deflate_level":99}`, `{"max_rdy_count":1,"max_rdy_count":0}`, strings.Repeat("[", 10_000), "_heartbeat_",
	} {
		f.Add([]byte(response(answer)+response("OK")), uint8(0))
	}
	auth := response(`{"auth_required":true}`)
	for _, then := range []string{
		response(`{"permission_count":1}`) + response("OK"), response(`{"permission_count":0}`), response("{"), response(secret),
		string(fake.Frame(fake.FrameError, []byte("E_AUTH_FAILED "+secret))), response("_heartbeat_") + response("{}") + response("_heartbeat_") + response("OK"),
		response("{}") + string(fake.Message(1, fake.ID(1), 1, []byte("early"))),
	} {
		f.Add([]byte(auth+then), uint8(0))
	}
	f.Add([]byte(response(`{"snappy":true}`)+"\xff\x06\x00\x00sNaPpY\x01\x0e\x00\x00\x1d\x1f\x5c\x9b\x00\x00\x00\x06\x00\x00\x00\x00OK"), uint8(1))
	f.Add([]byte(response(`{"snappy":true}`)+"\x80\x01\x00\x00\x00"), uint8(1))
	f.Add([]byte(response(`{"deflate":true}`)+"\x00\x0a\x00\xf5\xff\x00\x00\x00\x06\x00\x00\x00\x00OK\x00\x00\x00\xff\xff"), uint8(2))
	f.Add([]byte(response(`{"deflate":true}`)+"\x07\x00"), uint8(2))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"), uint8(0))
	f.Add([]byte("\x7f\xff\xff\xff\x00\x00\x00\x00"), uint8(0))

	f.Fuzz(func(t *testing.T, said []byte, compression uint8) {
		if len(said) > 64<<10 {
			return // exceeds the pipe's buffer
		}
		client, server := pipe.New()
		defer client.Close()
		defer server.Close()
		if _, err := server.Write(said); err != nil {
			t.Fatal(err)
		}
		if err := server.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		asked := false
		hs, err := conn.Handshake(t.Context(), address, conn.Config{
			AuthSecret:         func(context.Context) (string, error) { asked = true; return secret, nil },
			AllowPlaintextAuth: true,
			Compression:        conn.Compression(compression % 3),
			HandshakeTimeout:   time.Minute,
			DialContext:        func(context.Context, string, string) (net.Conn, error) { return client, nil },
		}, orders)
		if err == nil {
			if r := hs.Resp; r.MaxRdyCount < 1 || r.MsgTimeout <= 0 || r.MsgTimeout > r.MaxMsgTimeout || r.TLS || r.Snappy && r.Deflate ||
				r.Snappy != (compression%3 == 1) || r.Deflate != (compression%3 == 2) {
				t.Fatalf("accepted %+v", r)
			}
			return
		}
		failure, ok := err.(*conn.Error)
		if !ok || failure.Addr != address {
			t.Fatalf("error is %T %v", err, err)
		}
		text := err.Error()
		if len(text) > 1000 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || asked && strings.Contains(text, secret) {
			t.Fatalf("error is %q", text)
		}
		_ = client.Close() // no effect unless the handshake leaked it
		sent, err := io.ReadAll(server)
		if err != nil || !strings.HasPrefix(string(sent), "  V2IDENTIFY\n") {
			t.Fatalf("sent %.100q, error %v", sent, err)
		}
	})
}
