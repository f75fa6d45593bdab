package lookup

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxName  = 253 // bytes of a host name
	maxLabel = 63  // bytes of a label of it
	maxZone  = 64  // bytes of an IPv6 zone
)

// join returns host:port in canonical form, so duplicates are equal and a filter cannot be
// bypassed. ok is false if the address is invalid.
func join(host string, port int) (addr string, ok bool) {
	host, ok = canonical(host)
	if !ok || port < 1 || port > 65535 {
		return "", false
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), true
}

// Canonical returns the canonical form of the address of an nsqd: the host in lower case or as the
// shortest form of its IP address, the port without leading zeros. "unix:///path" stays as it is. ok
// is false if addr is neither, or if its host is a number that many resolvers read as an IPv4 address,
// such as 0x7f.1.
func Canonical(addr string) (form string, ok bool) {
	if path, isUnix := strings.CutPrefix(addr, "unix://"); isUnix {
		return addr, strings.HasPrefix(path, "/") && !strings.Contains(path, "\x00")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", false
	}
	return join(host, int(n))
}

// Form returns the canonical form of addr, or addr itself if it has none.
func Form(addr string) string {
	if form, ok := Canonical(addr); ok {
		return form
	}
	return addr
}

// canonical returns the canonical form of a host name or an IP address. IPv6 may have brackets.
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
	return ip.Unmap().String(), true // ::ffff:127.0.0.1 would bypass a filter of 127.0.0.1
}

// isName reports whether name is a host name. It allows underscores, which container names have.
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
	// Many resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1. A larger number is a
	// name: container names may consist of digits.
	_, err := strconv.ParseUint(last, 0, 32)
	return err != nil
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
}
