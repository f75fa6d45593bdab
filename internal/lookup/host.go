package lookup

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxName  = 253 // bytes of a host name
	maxLabel = 63  // bytes between its dots
	maxZone  = 64  // bytes behind the % of an IPv6 address
)

// join makes host:port in the one form that makes duplicates equal, and hides nothing from a filter. It is not ok if that
// cannot be dialled.
func join(host string, port int) (addr string, ok bool) {
	host, ok = canonical(host)
	if !ok || port < 1 || port > 65535 {
		return "", false
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), true
}

// key is the same for addresses that mean the same. Other addresses than host:port are their own.
func key(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return addr
	}
	if joined, ok := join(host, n); ok {
		return joined
	}
	return addr
}

// canonical takes an IP address, IPv6 also in brackets, or a host name.
func canonical(host string) (string, bool) {
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return "", false
		}
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil {
		return strings.ToLower(host), !bracketed && isName(host)
	}
	if bracketed && !ip.Is6() || len(ip.Zone()) > maxZone || strings.ContainsFunc(ip.Zone(), notInName) {
		return "", false
	}
	return ip.Unmap().String(), true // ::ffff:127.0.0.1 would pass a filter that knows 127.0.0.1
}

// isName reports whether name can be a host name. Underscores are no part of those, but containers have them.
func isName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxName || strings.ContainsFunc(name, notInName) {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
		last = label
	}
	// Many resolvers take 2130706433, 0x7f.1 and 0177.0.0.1 for 127.0.0.1. What is too large for that is a name again: that of a
	// container may be of digits alone.
	_, err := strconv.ParseUint(last, 0, 32)
	return err != nil
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
}
