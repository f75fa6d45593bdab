package discover

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
)

// zone is a Resolver.
type zone struct {
	srv []*net.SRV
	ips []netip.Addr
	err error
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service+proto != "" || name != "_nsqd._tcp.prod" {
		return "", nil, errors.New("asked for " + name)
	}
	return name, z.srv, z.err
}

func (z *zone) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip" || host != "nsqd.prod" {
		return nil, errors.New("asked for " + host)
	}
	return z.ips, z.err
}

func TestDNS(t *testing.T) {
	z := &zone{
		srv: []*net.SRV{{Target: "nsqd-1.prod.", Port: 4150}, {Target: "nsqd-0.prod.", Port: 5150}, {Target: "nsqd-0.prod.", Port: 5150}},
		ips: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fd00::1")},
	}
	for name, want := range map[string][]string{
		"_nsqd._tcp.prod": {"nsqd-0.prod:5150", "nsqd-1.prod:4150"},
		"nsqd.prod:4150":  {"10.0.0.1:4150", "10.0.0.2:4150", "[fd00::1]:4150"},
	} {
		d := &DNS{Name: name, Resolver: z}
		check.WantErr(t, name, d.Validate(), nil)
		got, err := d.Discover(t.Context(), "orders")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	errDNS := errors.New("no such host")
	for _, name := range []string{"_nsqd._tcp.prod", "nsqd.prod:4150"} {
		_, err := (&DNS{Name: name, Resolver: &zone{err: errDNS}}).Discover(t.Context(), "")
		check.WantErr(t, name, err, errDNS)
		if _, err = (&DNS{Name: name, Resolver: &zone{}}).Discover(t.Context(), ""); err == nil {
			t.Errorf("%s: no address is no error", name)
		}
	}
	for _, name := range []string{"", ":", ":4150", "a:0", "a:b", "a b", "unix:///x", "-x", "a:4150:1"} {
		if err := (&DNS{Name: name}).Validate(); err == nil {
			t.Errorf("the name %q is accepted", name)
		}
	}
}
