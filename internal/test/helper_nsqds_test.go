package test

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/fake"
)

// nsqds plays the nsqds of a test, one an address. They only do what a test tells them, besides the
// answers that a client needs: the handshake, OK, CLOSE_WAIT and heartbeats. Tests use it for
// scripted answers, floods and exact message times; for a correct nsqd with topics, channels and
// requeues they use nsqxtest.Server. It must run in a bubble.
type nsqds struct {
	t        *testing.T
	net      *fake.Network
	addrs    []string
	config   conn.Config                          // of the consumer, with DialContext
	identify map[string]any                       // changes the answer to IDENTIFY
	greet    func(l *line) bool                   // called before the handshake; false ends the connection
	on       func(l *line, cmd fake.Command) bool // reports whether it has handled the command; nil handles none
	silent   bool                                 // no heartbeats
	log      *logbook

	start time.Time
	mu    sync.Mutex
	lines []*line
}

// newNSQDs plays nsqd at the addresses. Defaults to nsqd1.
func newNSQDs(t *testing.T, addrs ...string) *nsqds {
	if len(addrs) == 0 {
		addrs = []string{nsqd1}
	}
	d := &nsqds{t: t, addrs: addrs, start: time.Now(), log: new(logbook)}
	d.net = fake.NewNetwork(t, d.serve)
	d.config.DialContext = d.net.DialContext
	return d
}

// line is one connection.
type line struct {
	d    *nsqds
	addr string
	n    int // number of the dial, from 1
	p    *fake.Peer

	writing sync.Mutex

	mu    sync.Mutex
	sub   bool
	log   []entry
	half  bool // the client half-closed
	ended bool
}

type entry struct {
	at   time.Duration
	cmd  string
	body string
}

func (d *nsqds) serve(p *fake.Peer) {
	l := &line{d: d, addr: p.Addr, n: p.N, p: p}
	d.mu.Lock()
	d.lines = append(d.lines, l)
	d.mu.Unlock()
	if d.greet != nil && !d.greet(l) {
		return
	}
	p.Identify(d.identify)
	if !d.silent {
		beat := time.NewTicker(30 * time.Second)
		defer beat.Stop()
		quit, gone := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(gone)
			l.beat(beat.C, quit)
		}()
		defer func() {
			close(quit)
			<-gone
		}()
	}
	for {
		cmd, err := p.Next()
		if err != nil {
			half := p.HalfClosed()
			l.mu.Lock()
			l.half, l.ended = half, true
			l.mu.Unlock()
			return
		}
		l.mu.Lock()
		l.log = append(l.log, entry{d.since(), cmd.String(), string(cmd.Body)})
		l.sub = l.sub || cmd.Name == "SUB"
		l.mu.Unlock()
		if d.on != nil && d.on(l, cmd) {
			continue
		}
		switch cmd.Name {
		case "SUB", "PUB", "MPUB":
			l.say("OK")
		case "CLS":
			l.say("CLOSE_WAIT")
		}
	}
}

// beat sends heartbeats.
func (l *line) beat(tick <-chan time.Time, quit <-chan struct{}) {
	for {
		select {
		case <-tick:
			l.write(func(p *fake.Peer) { p.Heartbeat() })
		case <-quit:
			return
		}
	}
}

func (d *nsqds) since() time.Duration { return time.Since(d.start) }

// all returns all connections to addr so far that subscribe, or all that publish.
func (d *nsqds) all(addr string, sub bool) []*line {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.lines), func(l *line) bool { return l.addr != addr || l.isSub() != sub })
}

// line returns the last connection to addr that has subscribed.
func (d *nsqds) line(addr string) *line { return d.last(addr, true) }

// publisher returns the last connection to addr that publishes.
func (d *nsqds) publisher(addr string) *line { return d.last(addr, false) }

func (d *nsqds) last(addr string, sub bool) *line {
	d.t.Helper()
	lines := d.all(addr, sub)
	if len(lines) == 0 {
		d.t.Fatalf("no connection to %s (subscribed: %v)", addr, sub)
	}
	return lines[len(lines)-1]
}

func (l *line) isSub() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sub
}

func (l *line) write(f func(p *fake.Peer)) {
	l.writing.Lock()
	defer l.writing.Unlock()
	f(l.p)
}

func (l *line) say(response string) { l.write(func(p *fake.Peer) { p.Response(response) }) }

func (l *line) fail(text string) { l.write(func(p *fake.Peer) { p.Error(text) }) }

// send delivers first attempts, with the id as the body.
func (l *line) send(ids ...uint64) {
	for _, id := range ids {
		l.sendAs(id, 1, fake.ID(id))
	}
}

func (l *line) sendAs(id uint64, attempts uint16, body string) {
	l.write(func(p *fake.Peer) { p.Message(fake.ID(id), attempts, []byte(body)) })
}

// flood delivers n first attempts in one write.
func (l *line) flood(first uint64, n int) {
	var frames []byte
	for i := range uint64(n) {
		frames = append(frames, fake.Message(time.Now().UnixNano(), fake.ID(first+i), 1, []byte("x"))...)
	}
	l.write(func(p *fake.Peer) { p.Raw(frames) })
}

// entries returns the received commands with one of the names, or all.
func (l *line) entries(names ...string) []entry {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.log), func(e entry) bool {
		name, _, _ := strings.Cut(e.cmd, " ")
		return len(names) > 0 && !slices.Contains(names, name)
	})
}

// payload returns the body without its envelope.
func (e entry) payload() string {
	_, payload, _ := envelope.Split([]byte(e.body))
	return string(payload)
}

// published counts the messages of PUBs and MPUBs.
func (l *line) published() (n int) {
	for _, e := range l.entries("PUB", "MPUB") {
		if strings.HasPrefix(e.cmd, "PUB") {
			n++
			continue
		}
		n += int(binary.BigEndian.Uint32([]byte(e.body)))
	}
	return n
}

// commands returns entries without times. Ids of fake.ID lose their zeros.
func (l *line) commands(names ...string) []string {
	var commands []string
	for _, e := range l.entries(names...) {
		commands = append(commands, short(e.cmd))
	}
	return commands
}

func short(cmd string) string {
	words := strings.Split(cmd, " ")
	for i, w := range words {
		if len(w) == 16 {
			words[i] = strings.TrimLeft(w, "0")
		}
	}
	return strings.Join(words, " ")
}

func (l *line) wantCommands(names, want string) {
	l.d.t.Helper()
	if got := strings.Join(l.commands(strings.Fields(names)...), ", "); got != want {
		l.d.t.Errorf("%s heard %q, want %q", l.addr, got, want)
	}
}

// wantAnswers checks all FINs, REQs and TOUCHes with their times.
func (l *line) wantAnswers(want ...string) {
	l.d.t.Helper()
	var got []string
	for _, e := range l.entries("FIN", "REQ", "TOUCH") {
		got = append(got, e.at.String()+" "+short(e.cmd))
	}
	if !slices.Equal(got, want) {
		l.d.t.Errorf("%s heard\n%q, want\n%q", l.addr, got, want)
	}
}

// lastRDY returns the last RDY received.
func (l *line) lastRDY() string {
	rdy := l.commands("RDY")
	if len(rdy) == 0 {
		return ""
	}
	return rdy[len(rdy)-1]
}

// halfClosed reports whether the client has half-closed.
func (l *line) halfClosed() bool {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended && l.half
}
