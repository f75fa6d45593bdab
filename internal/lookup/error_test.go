package lookup_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/lookup"
)

// A server that sends the secret back, and a secret that cannot be sent.
func TestSecretIsNotRepeated(t *testing.T) {
	const canary = "ca%na\"ry-canary"
	long := strings.Repeat("x", 250)
	for name, tt := range map[string]struct {
		secret string
		say    string
	}{
		"refused":        {"Bearer " + canary, "HTTP/1.1 403 no\r\n\r\nBearer " + canary},
		"without scheme": {"Bearer " + canary, "HTTP/1.1 403 no\r\n\r\n" + canary},
		"no scheme":      {canary, "HTTP/1.1 403 no\r\n\r\n" + canary},
		"cut in half":    {"Bearer " + canary, "HTTP/1.1 403 no\r\n\r\n" + long + canary},
		"message":        {canary, "HTTP/1.1 403 no\r\n\r\n" + `{"message":"ca%na\"ry-c\u0061nary"}`},
		"reason":         {"Bearer " + canary, "HTTP/1.1 403 " + canary + "\r\n\r\n"},
		"status":         {canary, "HTTP/1.1 " + canary + "\r\n\r\n"},
		"no HTTP":        {canary, canary + "\r\n\r\n"},
		"header":         {canary, "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n"},
		"location":       {canary, "HTTP/1.1 302 OK\r\nLocation: http://[" + canary + "\r\n\r\n"},
		"encoding":       {canary, "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n"},
		"length":         {canary, "HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n"},
		"old form":       {"x " + canary, "HTTP/1.1 200 OK\r\n\r\n" + `{"status_code":403,"status_txt":"ca%na\"ry-canary"}`},
		"invalid":        {"Bearer " + canary + "\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			addr := raw(t, func(nc net.Conn) {
				_, _ = nc.Write([]byte(tt.say))
			})
			c := client(t, addr, lookup.Config{Authorization: func(context.Context) (string, error) { return tt.secret, nil }})
			_, err := c.Nodes(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if strings.Contains(e.Error(), "ca%na") || strings.Contains(e.Error(), "-canary") {
					t.Errorf("error %q", e)
				}
			}
			loggable(t, err.Error())
		})
	}
}

func TestErrorType(t *testing.T) {
	for _, tt := range []struct {
		err  lookup.Error
		want string
	}{
		{lookup.Error{Status: 404}, "404"},
		{lookup.Error{Status: 200}, ""}, // that of the cause: the answer cannot be read
		{lookup.Error{}, ""},
	} {
		check.Want(t, "error type", tt.err.ErrorType(), tt.want)
	}
}
