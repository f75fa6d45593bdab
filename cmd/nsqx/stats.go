package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/nsqx/nsqx/admin"
)

type statsCommand struct {
	Topic    string        `arg:"" optional:"" help:"Only this topic."`
	Watch    bool          `help:"Show again and again, with rates, until Ctrl-C."`
	Interval time.Duration `help:"Of --watch." default:"2s"`
	Count    int           `help:"End --watch after so many times; 0 for never." default:"0"`
	Clients  bool          `help:"Show the clients of each channel, with their versions."`
	JSON     bool          `name:"json" help:"Print JSON, one object a line."`
}

// line is a channel over all nsqds, or a topic if channel is "".
type line struct {
	Topic    string      `json:"topic"`
	Channel  string      `json:"channel,omitempty"`
	NSQDs    int         `json:"nsqds"`
	Depth    int64       `json:"depth"`
	Disk     int64       `json:"disk"`
	InFlight int64       `json:"in_flight"`
	Deferred int64       `json:"deferred"`
	Messages uint64      `json:"messages"`
	Requeued uint64      `json:"requeued"`
	TimedOut uint64      `json:"timed_out"`
	Clients  int         `json:"clients"`
	Paused   int         `json:"paused"` // nsqds at which it is
	Rate     *float64    `json:"messages_per_second,omitempty"`
	List     []clientRow `json:"client_list,omitempty"`
}

type clientRow struct {
	NSQD string `json:"nsqd"`
	admin.ClientStats
}

type lineKey struct{ topic, channel string }

func (c *statsCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	if c.Interval < 100*time.Millisecond {
		return usage("--interval is %v, want at least 100ms", c.Interval)
	}
	var before map[lineKey]*line
	var at time.Time
	for n := 1; ; n++ {
		all := totals{lines: make(map[lineKey]*line)}
		_, answered, failed, err := s.stats(ctx, t, admin.StatsFilter{Topic: c.Topic, Clients: c.Clients}, all.add)
		if err != nil {
			return ended(ctx, c.Watch, err)
		}
		if all.leftOut > 0 {
			t.note("nsqx: %d topics, channels and clients beyond the first %d are left out: name a topic", all.leftOut, maxLines)
			failed = cmp.Or(failed, part("the result is a part"))
		}
		now, lines := time.Now(), all.lines
		for key, l := range lines {
			if b := before[key]; b != nil && l.Messages >= b.Messages {
				rate := float64(l.Messages-b.Messages) / now.Sub(at).Seconds()
				l.Rate = &rate
			}
		}
		if c.Watch && t.width > 0 && !c.JSON {
			fmt.Fprint(t.out, "\x1b[H\x1b[2J")
		}
		if err := c.print(t, lines, answered); err != nil {
			return err
		}
		if !c.Watch || n == c.Count {
			return failed
		}
		before, at = lines, now
		select {
		case <-time.After(c.Interval):
		case <-ctx.Done():
			return nil
		}
	}
}

// ended returns nil if a command that runs until it is interrupted was.
func ended(ctx context.Context, endless bool, err error) error {
	if endless && ctx.Err() != nil {
		return nil
	}
	return err
}

// maxLines is how many topics, channels and clients are shown.
const maxLines = 200_000

// totals add the nsqds up.
type totals struct {
	lines   map[lineKey]*line
	clients int
	leftOut int // beyond maxLines, at each nsqd
}

// at returns a line, nil beyond the limit.
func (a *totals) at(topic, channel string) *line {
	key := lineKey{topic, channel}
	l := a.lines[key]
	switch {
	case l == nil && len(a.lines)+a.clients >= maxLines:
		a.leftOut++
		return nil
	case l == nil:
		l = &line{Topic: topic, Channel: channel}
		a.lines[key] = l
	}
	l.NSQDs++
	return l
}

// add adds an nsqd.
func (a *totals) add(n admin.Node, stats *admin.Stats) {
	for _, ts := range stats.Topics {
		if l := a.at(ts.Name, ""); l != nil {
			l.Depth += ts.Depth
			l.Disk += ts.BackendDepth
			l.Messages += ts.Messages
			l.Paused += count(ts.Paused)
		}
		for _, ch := range ts.Channels {
			l := a.at(ts.Name, ch.Name)
			if l == nil {
				continue
			}
			l.Depth += ch.Depth
			l.Disk += ch.BackendDepth
			l.InFlight += ch.InFlight
			l.Deferred += ch.Deferred
			l.Messages += ch.Messages
			l.Requeued += ch.Requeued
			l.TimedOut += ch.TimedOut
			l.Clients += ch.ClientCount
			l.Paused += count(ch.Paused)
			room := max(min(maxLines-len(a.lines)-a.clients, len(ch.Clients)), 0)
			for _, client := range ch.Clients[:room] {
				l.List = append(l.List, clientRow{n.Addr, client})
			}
			a.clients += room
			a.leftOut += len(ch.Clients) - room
		}
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *statsCommand) print(t *terminal, lines map[lineKey]*line, nsqds int) error {
	keys := slices.SortedFunc(maps.Keys(lines), func(a, b lineKey) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.channel, b.channel))
	})
	for _, l := range lines { // nsqds have answered in any order
		slices.SortStableFunc(l.List, func(a, b clientRow) int { return cmp.Compare(a.NSQD, b.NSQD) })
	}
	if c.JSON {
		for _, key := range keys {
			if err := t.printJSON(lines[key]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(keys) == 0 {
		return t.print(fmt.Sprintf("no topics at %d nsqds", nsqds))
	}
	header := table.Row{"topic/channel", "nsqds", "depth", "flight", "defer", "requeued", "timeout", "clients"}
	right := []string{"nsqds", "depth", "flight", "defer", "requeued", "timeout", "clients", "msg/s"}
	wide := t.cells() - 61
	if c.Watch {
		header = append(header, "msg/s")
		wide -= 8
	}
	var rows []table.Row
	for _, key := range keys {
		l := lines[key]
		name := cut(key.topic, wide)
		if key.channel != "" {
			name = "  " + cut(key.channel, wide-2)
		}
		if l.Paused > 0 {
			name = cut(name, max(wide-9, 4)) + t.paint(text.FgYellow, " (paused)")
		}
		row := table.Row{name, l.NSQDs, number(l.Depth), number(l.InFlight), number(l.Deferred), number(int64(l.Requeued)), number(int64(l.TimedOut)), l.Clients}
		if key.channel == "" {
			row = table.Row{name, l.NSQDs, number(l.Depth), "", "", "", "", ""}
		}
		if c.Watch {
			rate := "-"
			if l.Rate != nil {
				rate = fmt.Sprintf("%.0f", *l.Rate)
			}
			row = append(row, rate)
		}
		rows = append(rows, row)
	}
	if err := t.table(header, right, rows); err != nil {
		return err
	}
	if !c.Clients {
		return nil
	}
	rows = nil
	for _, key := range keys {
		for _, cl := range lines[key].List {
			rows = append(rows, table.Row{cut(key.topic+"/"+key.channel, 24), cut(cl.Hostname, 16), cut(cl.UserAgent, max(t.cells()-63, 12)), cl.Ready, cl.InFlight, age(time.Since(time.Unix(cl.ConnectTime, 0)))})
		}
	}
	if len(rows) == 0 {
		return t.print("\nno clients")
	}
	if err := t.print(""); err != nil {
		return err
	}
	return t.table(table.Row{"topic/channel", "client", "version", "rdy", "flight", "since"}, []string{"rdy", "flight", "since"}, rows)
}

// number is a count in at most 6 cells.
func number(n int64) string {
	switch {
	case n < 100_000:
		return fmt.Sprint(n)
	case n < 10_000_000:
		return fmt.Sprintf("%dk", n/1000)
	default:
		return fmt.Sprintf("%dM", n/1_000_000)
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// list is names in a sentence, the first few alone.
func list(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", len(names)-5)
	}
	return strings.Join(names, ", ")
}
