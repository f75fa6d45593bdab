package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/nsqx/nsqx/envelope"
)

// deadCommands work on a topic with dead letters, or any other. None creates a topic or a channel.
type deadCommands struct {
	Ls      lsCommand      `cmd:"" help:"List dead letters. Each has one more attempt afterwards, and is at the end of the queue."`
	Show    showCommand    `cmd:"" help:"Show one dead letter."`
	Redrive redriveCommand `cmd:"" help:"Publish dead letters again, for the channels that gave them up."`
	Purge   purgeCommand   `cmd:"" help:"Finish dead letters: they are gone."`
}

// deadFlags are the flags of all of them.
type deadFlags struct {
	Topic   string `arg:"" help:"Topic with the dead letters, such as orders.dead."`
	Channel string `help:"Channel to read; needed if the topic has several." placeholder:"NAME"`
	Where   string `short:"w" help:"Only messages for which this jq program is neither false nor null." placeholder:"JQ"`
	JSON    bool   `name:"json" help:"Print JSON, one object a line."`
}

type lsCommand struct {
	deadFlags
	Limit int `short:"n" help:"Most messages; 0 for all." default:"100"`
}

type showCommand struct {
	deadFlags
	ID string `arg:"" help:"Id of the message, as of ls; or nsqd/id."`
}

// maxRows is how many letters a table has; further ones are in another.
const maxRows = 5000

func (f *deadFlags) scan(ctx context.Context, t *terminal, s *servers) (*scan, error) {
	where, err := newFilter(f.Where)
	if err != nil {
		return nil, err
	}
	src, err := s.source(ctx, t, f.Topic, f.Channel)
	if err != nil {
		return nil, err
	}
	return &scan{source: src, t: t, where: where}, nil
}

// limited is scan for at most limit messages that match; 0 for all.
func (f *deadFlags) limited(ctx context.Context, t *terminal, s *servers, limit int) (*scan, error) {
	if limit < 0 {
		return nil, usage("--limit is %d, want 0 or more", limit)
	}
	sc, err := f.scan(ctx, t, s)
	if err != nil {
		return nil, err
	}
	sc.limit = limit
	return sc, nil
}

func (c *lsCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	sc, err := c.limited(ctx, t, s, c.Limit)
	if err != nil {
		return err
	}
	var (
		all   []*letter
		write error
	)
	flush := func() {
		if len(all) > 0 {
			slices.SortFunc(all, func(a, b *letter) int { return a.at.Compare(b.at) })
			write = cmp.Or(write, t.letters(all))
		}
		all = nil
	}
	sc.match = func(l *letter) {
		if c.JSON {
			write = cmp.Or(write, t.printJSON(l.view()))
			return
		}
		l.body = bytes.Clone(l.body[:min(len(l.body), 1024)])
		if all = append(all, l); len(all) == maxRows {
			flush()
		}
	}
	err = sc.run(ctx)
	flush()
	if write != nil {
		return write
	}
	t.note("%d of %d messages in %s/%s; each of the %d that were read has one more attempt", sc.matched, sc.depth(), c.Topic, sc.channel, sc.read)
	if err != nil && sc.read > 0 {
		return status{err, exitPart}
	}
	return cmp.Or(err, ctx.Err(), sc.failed)
}

// letters prints a table that fits the terminal.
func (t *terminal) letters(all []*letter) error {
	several := slices.ContainsFunc(all, func(l *letter) bool { return l.nsqd != all[0].nsqd })
	origin := 6
	for _, l := range all {
		origin = max(origin, min(len(safe(l.origin())), 20))
	}
	rest := t.cells() - 16 - 2 - 5 - 2 - 5 - 2 - origin - 2 - 2
	header := table.Row{"id", "age", "tries", "from", "error", "body"}
	if several = several && rest > 17+40; several { // else ids must do
		header = append(table.Row{"nsqd"}, header...)
		rest -= 17
	}
	rest = max(rest, 16)
	wrong := 5
	for _, l := range all {
		wrong = max(wrong, min(text.StringWidthWithoutEscSequences(cut(l.headers[envelope.DeadError], rest)), rest*3/5))
	}
	var rows []table.Row
	for _, l := range all {
		row := table.Row{l.id, age(time.Since(l.at)), l.attempts, cut(l.origin(), origin), cut(cmp.Or(l.headers[envelope.DeadError], "-"), wrong), cut(l.text(), rest-wrong)}
		if several {
			row = append(table.Row{cut(l.nsqd, 15)}, row...)
		}
		rows = append(rows, row)
	}
	return t.table(header, []string{"age", "tries"}, rows)
}

// origin is the topic and the channel that gave the message up.
func (l *letter) origin() string {
	topic := cmp.Or(l.headers[envelope.DeadTopic], l.headers[envelope.OriginTopic])
	channel := cmp.Or(l.headers[envelope.DeadChannel], l.headers[envelope.OriginChannel])
	if topic == "" {
		return "-"
	}
	return topic + "/" + channel
}

// text is the body on one line.
func (l *letter) text() string {
	if l.tooLarge {
		return "(too large)"
	}
	return strings.Join(strings.Fields(string(l.body)), " ")
}

// age is a duration in at most 5 cells.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

func (c *showCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	sc, err := c.scan(ctx, t, s)
	if err != nil {
		return err
	}
	sc.limit = 1
	at, id, several := strings.Cut(c.ID, "/")
	if !several {
		at, id = "", c.ID
	}
	sc.keep = func(l *letter) bool { return l.id == id && (at == "" || l.nsqd == at) }
	sc.where = cmp.Or(sc.where, everything) // so that more than one message is read
	var found *letter
	sc.match = func(l *letter) { found = l }
	if err := sc.run(ctx); found == nil {
		if err != nil {
			t.report(err)
		}
		return cmp.Or(ctx.Err(), fmt.Errorf("no message %s in %s/%s: %d were read", c.ID, c.Topic, sc.channel, sc.read))
	}
	if c.JSON {
		return t.printJSON(found.view())
	}
	lines := []string{
		"id         " + found.id, "nsqd       " + found.nsqd, fmt.Sprintf("attempts   %d", found.attempts),
		"published  " + found.at.Format(time.RFC3339) + ", " + age(time.Since(found.at)) + " ago",
	}
	keys := make([]string, 0, len(found.headers))
	for key := range found.headers {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		lines = append(lines, t.paint(text.FgCyan, safe(key))+": "+safe(found.headers[key]))
	}
	lines = append(lines, "", found.decode("json"))
	return t.print(strings.Join(lines, "\n"))
}

// everything is a filter that matches.
var everything = func() *filter {
	f, err := newFilter("true")
	if err != nil {
		panic(err)
	}
	return f
}()

type purgeCommand struct {
	deadFlags
	Limit  int  `short:"n" help:"Most messages; 0 for all." default:"0"`
	DryRun bool `help:"Count the messages, and leave them."`
	Yes    bool `short:"y" help:"Do not ask."`
}

func (c *purgeCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	sc, err := c.limited(ctx, t, s, c.Limit)
	if err != nil {
		return err
	}
	sc.finish = !c.DryRun
	sc.match = func(*letter) {}
	var write error
	if c.JSON {
		sc.match = func(l *letter) { write = cmp.Or(write, t.printJSON(l.view())) }
	}
	if c.DryRun {
		err := sc.run(ctx)
		t.note("%d of %d messages in %s/%s would be purged", sc.matched, sc.depth(), c.Topic, sc.channel)
		return cmp.Or(write, err, ctx.Err(), sc.failed)
	}
	which := "All"
	if c.Where != "" {
		which = "Those that match of"
	}
	if err := t.confirm(c.Yes, "%s %d messages in %s/%s at %d nsqds will be gone.", which, sc.depth(), c.Topic, sc.channel, len(sc.places)); err != nil {
		return err
	}
	err = sc.run(ctx)
	t.note("%d messages were purged, of %d in %s/%s", sc.matched, sc.depth(), c.Topic, sc.channel)
	if err = cmp.Or(write, err, ctx.Err(), sc.failed); err != nil && sc.matched > 0 {
		return status{err, exitPart}
	}
	return err
}
