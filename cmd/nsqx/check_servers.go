package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nsqx/nsqx/conn"
)

func one(check string, s severity, at, what, cure string) []finding {
	return []finding{{check, s, []string{at}, what, cure}}
}

// checkLookupds: nsqlookupds that do not answer, and servers whose address is wrong.
func checkLookupds(f *facts) (all []finding) {
	for _, l := range f.lookupds {
		if l.err != nil {
			all = append(all, one("lookupd-unreachable", failure, l.addr, l.err.Error()+". Consumers learn of no nsqd from it.",
				"start nsqlookupd, or take its address out of --lookupd and of the settings of services")...)
		}
	}
	if len(f.nodes) == 0 && len(all) == 0 {
		all = append(all, one("no-nsqd", failure, f.lookupds[0].addr, "No nsqd is registered at any nsqlookupd: clients find none.",
			"start nsqds with --lookupd-tcp-address for each nsqlookupd")...)
	}
	for _, err := range f.failures {
		all = append(all, one("server-unreachable", failure, "flags", err.Error(), "correct --nsqd or --nsqd-http")...)
	}
	return all
}

// checkTime: what could not be looked at.
func checkTime(f *facts) (all []finding) {
	var late []string
	for _, n := range f.nodes {
		if n.late {
			late = append(late, n.Addr)
		}
	}
	if len(late) > 0 {
		all = append(all, finding{"not-asked", warning, late, fmt.Sprintf("There was no time to ask %d nsqds: others answer slowly, or not at all. Nothing is said of their topics.", len(late)),
			"raise --total-timeout, or name some of the servers by --nsqd-http"})
	}
	if f.leftOut > 0 {
		all = append(all, one("not-looked-at", warning, "topics", fmt.Sprintf("%d topics beyond the first %d topics, channels and clients were not looked at.", f.leftOut, maxEntries),
			"name some of the servers by --nsqd-http")...)
	}
	return all
}

// checkNamed: nsqds that some nsqlookupds do not name. Clients that ask only those do not see them.
func checkNamed(f *facts) (all []finding) {
	for _, n := range f.nodes {
		var missing []string
		for _, l := range f.lookupds {
			if l.err == nil && !slices.Contains(n.Lookupds, l.addr) {
				missing = append(missing, l.addr)
			}
		}
		if len(missing) > 0 {
			all = append(all, one("nsqd-not-registered", warning, n.Addr, "It is not named by "+list(missing)+": clients that ask only there do not see it.",
				"start this nsqd with --lookupd-tcp-address for each nsqlookupd, or set nsqlookupd_tcp_addresses by PUT /config")...)
		}
	}
	return all
}

// checkBroadcast: addresses that do not resolve here, and several nsqds with the same.
func checkBroadcast(f *facts) (all []finding) {
	for _, n := range f.nodes {
		if n.resolve != nil {
			all = append(all, one("broadcast-unresolvable", failure, n.Addr, "Its broadcast address does not resolve here: "+n.resolve.Error()+". Clients here cannot connect.",
				"start this nsqd with --broadcast-address=NAME that clients can resolve, or add it to their DNS")...)
		}
		remote := make(map[string]map[string]bool) // by nsqlookupd: nsqds with the address
		for i, p := range n.Named {
			l := n.Lookupds[i]
			if remote[l] == nil {
				remote[l] = make(map[string]bool)
			}
			remote[l][p.RemoteAddress] = true
		}
		for _, l := range slices.Sorted(maps.Keys(remote)) {
			if len(remote[l]) > 1 {
				all = append(all, one("same-broadcast-address", failure, n.Addr, fmt.Sprintf("%d nsqds are registered at %s with this address: clients reach one of them.", len(remote[l]), l),
					"start each nsqd with a --broadcast-address and --broadcast-tcp-port of its own")...)
				break
			}
		}
	}
	return all
}

// checkIDs: nsqds with the same node id give different messages the same id.
func checkIDs(f *facts) (all []finding) {
	same := make(map[string][]string)
	for _, n := range f.whole() {
		if id, ok := n.options["id"].(float64); ok {
			key := strconv.FormatFloat(id, 'f', -1, 64)
			same[key] = append(same[key], n.Addr)
		}
	}
	for id, at := range same {
		if len(at) > 1 {
			all = append(all, finding{"duplicate-node-id", failure, at, "They have the node id " + id + ": different messages may have the same id, which deduplication and traces take for one.",
				"start each nsqd with a --node-id of its own, 0 to 1023"})
		}
	}
	return all
}

// checkReach: nsqds that clients cannot connect to.
func checkReach(f *facts) (all []finding) {
	for _, n := range f.nodes {
		if n.dial == nil && !f.tls && required(n) {
			n.dial = errors.New("nsqd requires TLS, and this command uses none") // it says so to the first command
		}
		if n.dial == nil {
			continue
		}
		check, what, cure := "nsqd-unreachable", n.dial.Error()+". Clients here cannot connect.",
			"start it or open its port; if it listens elsewhere, correct --broadcast-address, --broadcast-tcp-port"
		switch text := n.dial.Error(); {
		case errors.Is(n.dial, conn.ErrNoTLS):
			check, cure = "no-tls", "start nsqd with --tls-cert and --tls-key, or connect without TLS"
		case errors.Is(n.dial, conn.ErrAuthRequired), errors.Is(n.dial, conn.ErrPlaintextAuth):
			check, cure = "auth-required", "give --auth-secret-file, with TLS or --allow-plaintext-auth; services need the same settings"
		case !f.tls && required(n) || strings.Contains(text, "TLS") || strings.Contains(text, "certificate"):
			check, cure = "tls-required", "give --tls, --tls-root-ca-file and perhaps --tls-cert, --tls-key; services need the same settings"
		}
		all = append(all, one(check, failure, n.Addr, what, cure)...)
	}
	return all
}

// required reports whether nsqd requires TLS.
func required(n *nodeFacts) bool {
	v, _ := n.options["tls_required"].(float64)
	return v != 0
}

// checkHTTP: nsqds whose HTTP interface does not answer.
func checkHTTP(f *facts) (all []finding) {
	for _, n := range f.nodes {
		if n.err != nil && n.resolve == nil {
			all = append(all, one("http-unreachable", warning, n.Addr, n.err.Error()+". Nothing is known of its topics.",
				"open its HTTP port, correct --broadcast-http-port, or give --nsqd-http")...)
		}
	}
	return all
}

// checkHealth: nsqds that say that they are ill.
func checkHealth(f *facts) (all []finding) {
	for _, n := range f.whole() {
		if h := n.stats[1].Health; h != "OK" && h != "" {
			all = append(all, one("nsqd-unhealthy", failure, n.Addr, "It says: "+h, "mend what it says, most often a full or read-only --data-path; then restart it")...)
		}
	}
	return all
}

// checkClocks: clocks that are apart.
func checkClocks(f *facts) (all []finding) {
	for _, n := range f.whole() {
		if n.offset.Abs() >= f.skew {
			all = append(all, one("clock", warning, n.Addr, fmt.Sprintf("Its clock is %v apart from this machine's: ages, expiry and a redrive's start are wrong by that.", n.offset.Abs().Round(time.Second)),
				"run a time service, such as chrony, there and here")...)
		}
	}
	return all
}

// bugs are those of nsqd's ChangeLog that cost messages or availability, by the version that mended them.
var bugs = []struct {
	fixed  [3]int
	only   string // the one version that has it; "" for all before
	what   string
	source string
	s      severity
}{
	{[3]int{0, 3, 8}, "0.3.7", "loses messages in memory when it is stopped by SIGTERM", "ChangeLog 0.3.8, nsqio/nsq#757", failure},
	{[3]int{1, 0, 0}, "", "counts requeued and deferred messages wrongly, and panics on some binary /mpub", "ChangeLog 1.0.0-compat, nsqio/nsq#805, #822", warning},
	{[3]int{1, 1, 0}, "", "closes a connection that requeues for longer than max-req-timeout", "ChangeLog 1.1.0, nsqio/nsq#868", warning},
	{[3]int{1, 2, 1}, "", "may lock up when ephemeral channels come and go often", "ChangeLog 1.2.1, nsqio/nsq#1251", warning},
}

// checkVersions: nsqds with known bugs.
func checkVersions(f *facts) (all []finding) {
	for _, n := range f.whole() {
		version := n.stats[1].Version
		v, ok := parse(version)
		for _, b := range bugs {
			if ok && slices.Compare(v[:], b.fixed[:]) < 0 && (b.only == "" || b.only == version) {
				all = append(all, one("known-bug", b.s, n.Addr, "nsqd "+version+" "+b.what+" ("+b.source+").", "update nsqd to 1.3.0 or later")...)
			}
		}
	}
	return all
}

// parse reads a version such as 1.2.1-alpha.
func parse(version string) (v [3]int, ok bool) {
	number, _, _ := strings.Cut(version, "-")
	parts := strings.Split(number, ".")
	if len(parts) != 3 {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return v, false
		}
		v[i] = n
	}
	return v, true
}
