package nsqxtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// topic is a topic with its channels. Server.mu guards it, and everything in it.
type topic struct {
	server    *Server
	name      string
	channels  map[string]*channel
	waiting   []*message // for the first channel
	published []Publication
}

// message is a copy of a message in one channel.
type message struct {
	id        handler.ID
	timestamp int64  // ns since 1970
	attempts  uint16 // deliveries so far
	body      []byte
	delay     time.Duration // of the first delivery
}

// topic returns the topic of a name, creating it if necessary.
func (s *Server) topic(name string) *topic {
	t := s.topics[name]
	if t == nil {
		t = &topic{server: s, name: name, channels: make(map[string]*channel)}
		s.topics[name] = t
		for _, channel := range s.askForChannels(name) {
			t.channel(channel)
		}
		s.register(name)
	}
	return t
}

// channel returns the channel of a name, creating it if necessary. The first channel gets the
// waiting messages.
func (t *topic) channel(name string) *channel {
	ch := t.channels[name]
	if ch == nil {
		defer t.server.register(t.name)
		ch = &channel{
			server:   t.server,
			topic:    t,
			name:     name,
			deferred: make(map[*message]*time.Timer),
			inFlight: make(map[string]*delivery),
			attempts: make(map[handler.ID]uint16),
		}
		t.channels[name] = ch
		for _, m := range t.waiting {
			ch.put(m, m.delay)
		}
		t.waiting = nil
	}
	return ch
}

// publish gives m an id, unless it has one, and copies it to all channels. The topic owns m from
// now on.
func (t *topic) publish(m *message) handler.ID {
	if m.id == (handler.ID{}) {
		t.server.lastID++
		m.id = handler.ID([]byte(fmt.Sprintf("%016x", t.server.lastID)))
	}
	if len(t.channels) == 0 {
		t.waiting = append(t.waiting, m)
		return m.id
	}
	for _, ch := range t.channels {
		copied := *m
		ch.put(&copied, m.delay)
	}
	return m.id
}

// channel holds the messages that its subscribers share.
type channel struct {
	server      *Server
	topic       *topic
	name        string
	paused      bool
	subscribers []*ServerConn // the next to get a message comes first

	queue    []*message
	deferred map[*message]*time.Timer
	inFlight map[string]*delivery

	attempts map[handler.ID]uint16
	finished []handler.ID
	requeues []Requeue
	timeouts int
}

// delivery is a message in flight.
type delivery struct {
	*message
	conn  *ServerConn
	at    time.Time
	timer *time.Timer
}

// put appends m to the queue after a delay.
func (ch *channel) put(m *message, delay time.Duration) {
	if delay > 0 {
		ch.deferred[m] = ch.server.after(delay, func() {
			if ch.deferred[m] != nil { // otherwise the server was stopped meanwhile
				delete(ch.deferred, m)
				ch.put(m, 0)
			}
		})
		return
	}
	ch.queue = append(ch.queue, m)
	ch.pump()
}

// pump delivers waiting messages to ready subscribers. It is called after every change that may
// make a subscriber ready.
func (ch *channel) pump() {
	for len(ch.queue) > 0 {
		i := slices.IndexFunc(ch.subscribers, (*ServerConn).ready)
		if i < 0 {
			break
		}
		c := ch.subscribers[i]
		ch.subscribers = append(slices.Delete(ch.subscribers, i, i+1), c)
		m := ch.queue[0]
		ch.queue = ch.queue[1:]
		if c.samplesOut() {
			continue // the message is gone
		}
		ch.deliver(m, c)
	}
	for _, c := range ch.subscribers {
		if !c.ready() {
			c.flush()
		}
	}
	ch.server.change.Broadcast()
}

// ready reports whether nsqd may push a message to the client.
func (c *ServerConn) ready() bool {
	return !c.channel.paused && c.inFlight+c.drift < c.rdy
}

// samplesOut reports whether the sample rate leaves out the next message.
func (c *ServerConn) samplesOut() bool {
	if c.sampleRate == 0 {
		return false
	}
	c.sampled++
	return c.sampled*c.sampleRate%100 >= c.sampleRate
}

func (ch *channel) deliver(m *message, c *ServerConn) {
	m.attempts++
	ch.attempts[m.id] = m.attempts
	d := &delivery{message: m, conn: c, at: time.Now()}
	c.delivered = d.at
	c.group.setRDY(c, c.rdy)
	c.unanswered[string(m.id[:])]++
	if ch.inFlight[string(m.id[:])] != nil {
		c.driftBy(1) // like nsqd: the second of two under one id is sent, and counted, but not kept
		c.sendMessage(m)
		return
	}
	ch.inFlight[string(m.id[:])] = d
	c.inFlight++
	ch.expireIn(d, c.msgTimeout)
	c.sendMessage(m)
}

// expireIn sets how long d may stay unanswered.
func (ch *channel) expireIn(d *delivery, wait time.Duration) {
	if d.timer != nil {
		d.timer.Stop()
	}
	var timer *time.Timer
	timer = ch.server.after(wait, func() {
		if d.timer == timer && ch.inFlight[string(d.id[:])] == d {
			ch.timeouts++
			ch.endDelivery(d)
			ch.put(d.message, 0)
		}
	})
	d.timer = timer
}

// endDelivery removes d from the messages in flight.
func (ch *channel) endDelivery(d *delivery) {
	delete(ch.inFlight, string(d.id[:]))
	d.timer.Stop()
	d.conn.inFlight--
}

func (ch *channel) finish(d *delivery) {
	ch.endDelivery(d)
	ch.finished = append(ch.finished, d.id)
	ch.pump()
}

func (ch *channel) requeue(d *delivery, delay time.Duration) {
	ch.endDelivery(d)
	ch.requeues = append(ch.requeues, Requeue{Time: time.Now(), ID: d.id, Attempts: d.attempts, Delay: delay})
	ch.put(d.message, delay)
	ch.pump() // the client may be ready again
}

func (ch *channel) touch(d *delivery) {
	end := time.Now().Add(d.conn.msgTimeout)
	if last := d.at.Add(ch.server.cfg.maxMsgTimeout); end.After(last) {
		end = last
	}
	ch.expireIn(d, time.Until(end))
}

// unsubscribe removes a connection. An ephemeral channel ends with its last subscriber.
func (ch *channel) unsubscribe(c *ServerConn) {
	ch.subscribers = slices.DeleteFunc(ch.subscribers, func(other *ServerConn) bool { return other == c })
	if len(ch.subscribers) == 0 && isEphemeral(ch.name) {
		delete(ch.topic.channels, ch.name)
		ch.queue = nil
	}
}

func isEphemeral(name string) bool {
	const suffix = "#ephemeral"
	return len(name) > len(suffix) && name[len(name)-len(suffix):] == suffix
}
