package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
)

type doctorCommand struct {
	Service []string      `help:"Address of a service that has the handler of package nsqxhttp, host:port or a URL; may be repeated." env:"NSQX_SERVICE" placeholder:"URL"`
	JSON    bool          `name:"json" help:"Print JSON, one finding a line."`
	Wait    time.Duration `help:"Between two looks: what is wrong in one alone does not count." default:"1s"`
	Skew    time.Duration `help:"How far clocks may be apart." default:"2s"`
}

// severity is how bad a finding is.
type severity string

const (
	warning severity = "warning" // something costs, or will
	failure severity = "error"   // messages do not flow, or may be lost
)

// finding is something that is wrong.
type finding struct {
	Check    string   `json:"check"` // stable name
	Severity severity `json:"severity"`
	At       []string `json:"at"`   // addresses, or topic/channel
	What     string   `json:"what"` // what is wrong, and what follows from it
	Cure     string   `json:"cure"` // the command or the flag
}

// checks look at facts and find what is wrong.
var checks = []func(*facts) []finding{
	checkLookupds, checkTime, checkNamed, checkBroadcast, checkIDs, checkReach, checkHTTP, checkHealth, checkClocks, checkVersions,
	checkLimits, checkSmallLimits, checkSecrets,
	checkChannels, checkTopics, checkConsumers, checkPaused, checkEphemeral, checkDisk, checkDrift, checkTimeouts, checkRequeues,
	checkServices, checkHeld, checkConnections, checkMaxInFlight, checkOverdue, checkHolding,
}

func (c *doctorCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	if c.Wait < 0 || c.Wait > time.Minute || c.Skew < time.Second {
		return usage("--wait is %v, want 0s to 1m; --skew is %v, want at least 1s", c.Wait, c.Skew)
	}
	f, err := gather(ctx, t, s, c.Service, c.Wait)
	if err != nil {
		return err
	}
	f.skew = c.Skew
	var all []finding
	for _, check := range checks {
		all = append(all, check(f)...)
	}
	slices.SortStableFunc(all, func(a, b finding) int { return cmp.Compare(a.Severity, b.Severity) }) // errors first
	worst, of := exitDone, make(map[string]int)
	for _, found := range all {
		slices.Sort(found.At)
		found.At = slices.Compact(found.At)
		if of[found.Check]++; of[found.Check] <= maxFindings || c.JSON {
			if err := c.print(t, found); err != nil {
				return err
			}
		}
		if found.Severity == failure {
			worst = exitErrors
		}
		worst = max(worst, exitPart)
	}
	for _, check := range sorted(of) {
		if n := of[check] - maxFindings; n > 0 && !c.JSON {
			t.note("%d more findings of %s: --json prints all", n, check)
		}
	}
	services := ""
	if n := len(f.services); n > 0 {
		services = fmt.Sprintf(" and %d services", n)
	}
	t.note("%d nsqlookupds and %d nsqds%s were asked: %d findings", len(f.lookupds), len(f.nodes), services, len(all))
	if worst != exitDone {
		return status{errFound, worst}
	}
	return nil
}

// maxFindings is how many findings of one check are for people.
const maxFindings = 20

// errFound ends doctor with a status. It says nothing, as the findings say it all.
var errFound = errors.New("")

func (c *doctorCommand) print(t *terminal, f finding) error {
	if c.JSON {
		return t.printJSON(f)
	}
	colour := text.FgYellow
	if f.Severity == failure {
		colour = text.FgRed
	}
	width := t.cells()
	return t.print(t.paint(colour, string(f.Severity)) + " " + f.Check + ": " + safe(list(f.At)) + "\n" +
		indent(safe(f.What), width) + "\n" + indent("Cure: "+safe(f.Cure), width) + "\n")
}

// indent wraps text by words.
func indent(s string, width int) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Fields(s) {
		switch n := text.StringWidthWithoutEscSequences(word); {
		case i == 0:
			b.WriteString("  " + word)
			at = 2 + n
		case at+1+n > width:
			b.WriteString("\n  " + word)
			at = 2 + n
		default:
			b.WriteString(" " + word)
			at += 1 + n
		}
	}
	return b.String()
}
