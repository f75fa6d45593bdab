package settings

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// values are the settings of a URL.
type values url.Values

func (v values) keys() []string { return slices.Sorted(maps.Keys(v)) }

// parseURL returns the settings of a URL, addresses among them. Its errors do not show the URL, which
// may have a secret in it.
func parseURL(text string) (values, error) {
	fault := func(format string, args ...any) error { return &Error{Reason: fmt.Sprintf(format, args...)} }
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, fault("has no scheme, want nsq://host:port, nsq+lookupd://host:port or nsq+unix:///path")
	}
	if strings.Contains(text, "#") {
		return nil, fault("has a #, want %%23 in values")
	}
	address, query, _ := strings.Cut(rest, "?")
	switch {
	case strings.Contains(address, "@"):
		return nil, fault("has a user name or password, want none: a secret is given by file, as auth_secret_file")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return nil, fault("has a space or control character, want %%20 in values and none elsewhere")
	}
	v, err := url.ParseQuery(query)
	if err != nil {
		return nil, fault("has a faulty query, want key=value&key=value, with %%xx for special characters in values")
	}
	key := ""
	switch scheme {
	case "nsq":
		key, address = "nsqd", strings.TrimSuffix(address, "/")
	case "nsq+lookupd":
		key, address = "lookupd", strings.TrimSuffix(address, "/")
	case "nsq+unix":
		if key = "nsqd"; !strings.HasPrefix(address, "/") {
			return nil, fault("names no socket, want nsq+unix:///path")
		}
		address = "unix://" + address
	default:
		return nil, fault("has the scheme %.32q, want nsq, nsq+lookupd or nsq+unix", scheme)
	}
	if key != "" && scheme != "nsq+unix" && strings.Contains(address, "/") {
		return nil, fault("has a path, want none")
	}
	if address != "" {
		v[key] = append([]string{address}, v[key]...)
	}
	return values(v), nil
}
