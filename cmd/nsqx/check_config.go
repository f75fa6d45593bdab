package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// flagOf is the flag of an option.
func flagOf(option string) string { return "--" + strings.ReplaceAll(option, "_", "-") }

// shown is the value of an option as its flag takes it.
func shown(option string, v any) string {
	n, ok := v.(float64)
	if ok && strings.HasSuffix(option, "_timeout") {
		return time.Duration(n).String()
	}
	if ok {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprint(v)
}

// checkLimits: settings that differ, so that what one nsqd accepts another refuses.
func checkLimits(f *facts) (all []finding) {
	for _, option := range options {
		if option == "id" || option == "auth_http_addresses" {
			continue
		}
		values := make(map[string][]string)
		for _, n := range f.whole() {
			if v, ok := n.options[option]; ok {
				values[shown(option, v)] = append(values[shown(option, v)], n.Addr)
			}
		}
		if len(values) < 2 {
			continue
		}
		var at, parts []string
		for _, v := range slices.Sorted(maps.Keys(values)) {
			at = append(at, values[v]...)
			parts = append(parts, v+" at "+list(values[v]))
		}
		all = append(all, finding{"settings-differ", warning, at, flagOf(option) + " is " + strings.Join(parts, ", ") + ": what one nsqd accepts another refuses or cuts.",
			"start all nsqds with the same " + flagOf(option)})
	}
	return all
}

// least are the values that clients count on: nsqd's defaults.
var least = []struct {
	option string
	value  float64
	what   string
}{
	{"max_req_timeout", float64(time.Hour), "longer delays of retries are cut silently, and deferred publishes beyond it are refused"},
	{"max_msg_size", 1 << 20, "larger messages are refused, dead letters with their headers among them"},
	{"max_msg_timeout", float64(15 * time.Minute), "handlers that need longer see their messages delivered again"},
}

// checkSmallLimits: limits below those that clients count on.
func checkSmallLimits(f *facts) (all []finding) {
	for _, l := range least {
		var at []string
		value := ""
		for _, n := range f.whole() {
			if v, ok := n.options[l.option].(float64); ok && v < l.value {
				at, value = append(at, n.Addr), shown(l.option, v)
			}
		}
		if len(at) > 0 {
			all = append(all, finding{"small-limit", warning, at, flagOf(l.option) + " is " + value + ", below nsqd's default: " + l.what + ".",
				"start nsqd with " + flagOf(l.option) + "=" + shown(l.option, l.value) + ", or lower the settings of clients"})
		}
	}
	return all
}

// checkSecrets: nsqds that ask for a secret which clients send in clear text.
func checkSecrets(f *facts) (all []finding) {
	var at []string
	for _, n := range f.whole() {
		if servers, _ := n.options["auth_http_addresses"].([]any); len(servers) > 0 && !required(n) {
			at = append(at, n.Addr)
		}
	}
	if len(at) > 0 {
		all = append(all, finding{"auth-without-tls", warning, at, "They require AUTH, but not TLS: a client may send its secret in clear text.",
			"start nsqd with --tls-required=tcp-https, --tls-cert and --tls-key"})
	}
	return all
}
