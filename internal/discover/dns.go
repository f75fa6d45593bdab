package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nsqx/nsqx/conn"
)

// Resolver asks DNS; *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// DNS is a Source of the addresses that DNS has for a name: host:port for addresses of a host, a name
// without a port for SRV records.
type DNS struct {
	Name     string
	Resolver Resolver
}

// Validate returns what is wrong with the name.
func (d *DNS) Validate() error {
	addr := d.Name
	if d.isService() {
		addr = strings.TrimSuffix(addr, ".") + ":1"
	}
	if strings.Contains(d.Name, "/") || conn.CheckAddress(addr) != nil {
		return fmt.Errorf("nsqx: the name %.64q is faulty, want host:port, or the name of SRV records such as _nsqd._tcp.example.com", d.Name)
	}
	return nil
}

// isService reports whether the name has SRV records.
func (d *DNS) isService() bool { return !strings.Contains(d.Name, ":") }

// String names the source in statistics.
func (d *DNS) String() string { return "dns:" + d.Name }

// Discover asks DNS. A name without records is an error: DNS does not say that a topic is unknown.
func (d *DNS) Discover(ctx context.Context, _ string) (addrs []string, err error) {
	if d.isService() {
		_, records, err := d.Resolver.LookupSRV(ctx, "", "", d.Name)
		for _, r := range records {
			addrs = append(addrs, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
		}
		return d.sorted(addrs, err)
	}
	host, port, err := net.SplitHostPort(d.Name)
	if err != nil {
		return nil, err
	}
	ips, err := d.Resolver.LookupNetIP(ctx, "ip", host)
	for _, ip := range ips {
		addrs = append(addrs, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return d.sorted(addrs, err)
}

func (d *DNS) sorted(addrs []string, err error) ([]string, error) {
	if err == nil && len(addrs) == 0 {
		err = errors.New("nsqx: DNS has no address for " + d.Name)
	}
	slices.Sort(addrs)
	return slices.Compact(addrs), err
}
