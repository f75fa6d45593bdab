package lookup

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// AddressError reports an invalid address of an nsqlookupd.
type AddressError struct {
	Addr   string // as given; "" if it may contain a secret
	Reason string // such as "has no port"
}

// Error returns the reason and the valid forms.
func (e *AddressError) Error() string {
	shown := ""
	if e.Addr != "" {
		shown = fmt.Sprintf(" %.256q", e.Addr)
	}
	return "nsqx: nsqlookupd address" + shown + " " + e.Reason +
		`: use "host:port", "http://host:port" or "https://host:port", the last two also with a path in front of /lookup`
}

// CheckAddress returns an *AddressError unless addr is "host:port", "http://host:port" or
// "https://host:port". The last two may have a path, which precedes /lookup. User info, a query and
// a fragment are not allowed, since they would appear in logs.
func CheckAddress(addr string) error {
	_, err := parseAddress(addr)
	return err
}

func parseAddress(addr string) (*url.URL, error) {
	fault := func(reason string) (*url.URL, error) {
		if strings.ContainsAny(addr, "@?#") {
			return nil, &AddressError{Reason: reason}
		}
		return nil, &AddressError{Addr: addr, Reason: reason}
	}
	if addr == "" {
		return fault("is empty")
	}
	full := addr
	if !strings.Contains(addr, "://") {
		if strings.Contains(addr, "/") {
			return fault("has a path, but no scheme")
		}
		full = "http://" + addr
	}
	u, err := url.Parse(full)
	switch {
	case err != nil: // err would repeat the address
		return fault("is malformed")
	case u.Scheme != "http" && u.Scheme != "https":
		return fault("has a scheme other than http and https")
	case u.User != nil:
		return fault("has user info")
	case u.RawQuery != "" || u.ForceQuery:
		return fault("has a query")
	case strings.Contains(addr, "#"):
		return fault("has a fragment")
	case u.Port() == "":
		return fault("has no port")
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil || port < 1 || port > 65535 {
		return fault("has a port outside 1 to 65535")
	}
	if _, ok := join(u.Hostname(), port); !ok {
		return fault("has no valid host")
	}
	return u, nil
}
