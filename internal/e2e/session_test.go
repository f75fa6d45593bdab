package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/envelope"
)

var update = flag.Bool("update", false, "write the sessions in testdata and the pictures in docs/guide/command")

// TestSessions types each command into a real terminal, before a cluster of two nsqlookupds and three
// nsqds. What is on the screen is in testdata/sessions, and some of it in the pictures of the guide.
func TestSessions(t *testing.T) {
	t.Parallel()
	p := newPatient(t, nil)
	p.byAddress()
	for _, s := range p.nsqds {
		s.EnsureChannel("orders.dead", "redrive")
	}
	bodies := []string{"", `{"order":101,"amount":1290}`, `{"order":102,"amount":88}`, `{"order":103,"amount":45900}`, `{"order":104,"card":"4000 0000 0000 0002"}`}
	for i, reason := range []string{"bank: timeout after 30s", "bank: timeout after 30s", "bank: timeout after 30s", "no credit"} {
		var w envelope.Writer
		for key, value := range map[string]string{envelope.DeadTopic: topic, envelope.DeadChannel: channel, envelope.DeadError: reason, envelope.DeadAttempts: "5",
			envelope.DeadTime: "2026-11-28T03:05:00Z"} {
			must(t, w.Set(key, value))
		}
		p.nsqds[i%3].Publish("orders.dead", w.AppendTo(nil, []byte(bodies[i+1])))
		time.Sleep(10 * time.Millisecond) // in this order
	}
	c := newConsumer(t, nothing, p.everywhere())
	start(t, c)
	receive(t, c.Ready(), "Ready")
	p.want("no-consumer")

	tm := newTerminal(t, "NSQX_LOOKUPD="+p.lookupds[0].HTTPAddr()+","+p.lookupds[1].HTTPAddr())
	s := newStable(p)
	answers := func(question, answer string) func() {
		return func() { tm.shows(question); tm.typeIn(answer) }
	}
	tailing := func() {
		eventually(t, func() bool {
			return strings.Contains(fmt.Sprint(p.nsqds[1].NSQD().GetStats(topic, "", false)), "nsqx-tail-")
		}, "the channel of tail")
	}
	for _, tt := range []struct {
		name      string
		commands  []string
		meanwhile func()
		picture   string // its title
	}{
		{"stats", []string{"nsqx stats"}, nil, "topics and channels over all nsqds"},
		{"stats-watch", []string{"nsqx stats orders --watch --interval 100ms --count 2"}, nil, ""},
		{"dead-ls", []string{`nsqx dead ls orders.dead`, `nsqx dead ls orders.dead --where '.headers["nsqx-dlq-error"] | test("credit")'`}, nil, "dead letters, all and those of a filter"},
		{"dead-show", []string{"nsqx dead show orders.dead FIRST"}, nil, "one dead letter with its headers"},
		{"pub", []string{`echo '{"order":105}' | nsqx pub orders -H source=shop`}, nil, ""},
		{"tail", []string{"nsqx tail orders -n 1"}, func() {
			tailing()
			p.nsqds[1].Publish(topic, []byte(`{"order":106}`))
		}, ""},
		{"interrupt", []string{"nsqx tail orders"}, func() { tailing(); tm.tmux("send-keys", "C-c") }, ""},
		{"topic", []string{"nsqx topic create returns", "nsqx channel create returns refunds", "nsqx channel pause returns refunds"},
			answers("Type yes to go on", "yes"), ""},
		{"doctor", []string{"nsqx doctor"}, func() {}, "what is wrong, and what cures it"},
		{"delete", []string{"nsqx channel unpause returns refunds", "nsqx channel delete returns refunds --yes", "nsqx topic delete returns"}, answers("Consumers that still run", "no"), ""},
		{"dead-redrive", []string{`nsqx dead redrive orders.dead --dry-run`, `nsqx dead redrive orders.dead --where '.headers["nsqx-dlq-error"] | test("timeout")' --idle 1s`}, nil, "what would go where, and then what can succeed goes back"},
		{"dead-purge", []string{"nsqx dead purge orders.dead"}, answers("Type yes", "yes"), ""},
		{"wrong", []string{"nsqx dead ls orders.dead --where '.headers['", "nsqx stat", "nsqx dead ls nothing"}, nil, ""},
	} {
		if tt.name == "dead-purge" {
			eventually(t, func() bool { return p.nsqds[0].Channel("orders.dead", "redrive").Depth == 1 }, "the rest to be back")
		}
		for i := range tt.commands {
			if len(s.ids) > 0 {
				tt.commands[i] = strings.ReplaceAll(tt.commands[i], "FIRST", s.ids[0])
			}
		}
		screen, status := tm.run(tt.commands, tt.meanwhile)
		screen = s.text(screen)
		checkGolden(t, filepath.Join("testdata", "sessions", tt.name+".txt"), plainText(screen)+"(exit status "+status+")\n")
		if tt.picture != "" {
			checkGolden(t, filepath.Join("..", "..", "docs", "guide", "command", tt.name+".svg"), picture(tt.picture, screen))
		}
	}
}

// checkGolden compares text with a file, or writes the file with -update.
func checkGolden(t *testing.T, name, text string) {
	t.Helper()
	if *update {
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(text), 0o644))
		return
	}
	want, err := os.ReadFile(name)
	if err != nil || string(want) != text {
		t.Errorf("%s has\n%s\n(%v), now it is\n%s\n-run TestSessions -update writes it", name, want, err, text)
	}
}
