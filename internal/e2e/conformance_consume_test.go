package e2e

import (
	"time"
)

// asksTimeout is the shortest message timeout a client may request.
const asksTimeout = time.Second

func shortTimeout() map[string]any {
	return map[string]any{"msg_timeout": asksTimeout.Milliseconds()}
}

// early is how much too early nsqd, which counts in milliseconds, may act.
const early = 2 * time.Millisecond

// after fails the test unless a came at least d after start.
func (b *bench) after(a answer, start time.Time, d time.Duration) {
	b.Helper()
	if took := a.at.Sub(start); took < d-early {
		b.Errorf("%q came after %v, want %v", a.body, took, d)
	}
}

// consumeCases are deliveries to a subscribed client.
func consumeCases() []conformCase {
	return []conformCase{
		{"RDY is a window", nil, func(b *bench) {
			b.publish("1", "2", "3")
			c := b.subscribe(2, nil)
			first := c.message("1", 1)
			c.message("2", 1)
			c.nothing()
			b.settles(channelCounts{depth: 1, inFlight: 2, clients: 1})
			c.send("FIN %s\n", first.id)
			c.message("3", 1)
			c.nothing()
			b.settles(channelCounts{inFlight: 2, clients: 1})
		}},
		{"RDY 0 and RDY without a count", nil, func(b *bench) {
			c := b.subscribe(0, nil)
			b.publish("1", "2")
			c.nothing()
			c.send("RDY\n")
			c.message("1", 1)
			c.nothing()
		}},
		{"lowering RDY does not take messages back", nil, func(b *bench) {
			b.publish("1", "2", "3")
			c := b.subscribe(2, nil)
			one, two := c.message("1", 1), c.message("2", 1)
			c.send("RDY 1\nFIN %s\n", one.id)
			c.nothing()
			c.send("FIN %s\n", two.id)
			c.message("3", 1)
		}},
		{"a message waits for its topic's first channel", nil, func(b *bench) {
			b.publish("1")
			b.subscribe(1, nil).message("1", 1)
		}},
		{"two consumers share a channel", nil, func(b *bench) {
			one, two := b.subscribe(1, nil), b.subscribe(1, nil)
			b.settles(channelCounts{clients: 2})
			b.publish("m", "m")
			one.message("m", 1)
			two.message("m", 1)
		}},
		{"a paused channel", nil, func(b *bench) {
			c := b.subscribe(1, nil)
			b.pause(b.topic, true)
			b.publish("1")
			c.nothing()
			b.pause(b.topic, false)
			c.message("1", 1)
		}},
		{"message timeout and redelivery", slowCases, func(b *bench) {
			b.publish("m")
			c := b.subscribe(1, shortTimeout())
			first := c.message("m", 1)
			second := c.message("m", 2)
			b.after(second, first.at, asksTimeout)
			if first.id != second.id {
				b.Errorf("ids %s and %s", first.id, second.id)
			}
			c.send("FIN %s\n", second.id)
			b.settles(channelCounts{clients: 1})
		}},
		{"a late answer acts on the next delivery", slowCases, func(b *bench) {
			b.publish("m")
			c := b.subscribe(1, shortTimeout())
			first := c.message("m", 1)
			c.message("m", 2)
			c.send("FIN %s\n", first.id)
			b.settles(channelCounts{clients: 1})
			c.send("REQ %s 0\n", first.id)
			c.refused("E_REQ_FAILED")
		}},
		{"a timeout frees the place", slowCases, func(b *bench) {
			b.publish("1", "2")
			c := b.subscribe(1, shortTimeout())
			c.message("1", 1)
			c.message("2", 1)
			c.message("1", 2)
		}},
		{"CLS", nil, func(b *bench) {
			b.publish("1", "2", "3", "4")
			c := b.subscribe(3, nil)
			one, two, three := c.message("1", 1), c.message("2", 1), c.message("3", 1)
			c.send("CLS\nRDY 5\nRDY 1000\n") // from here on nsqd ignores RDY, even a bad one
			c.expect("CLOSE_WAIT")
			c.send("FIN %s\nTOUCH %s\nREQ %s 0\nREQ %s 0\n%s", one.id, two.id, two.id, three.id, withBody("PUB "+b.topic, "5"))
			c.expect("OK")
			c.nothing()
			b.settles(channelCounts{depth: 4, clients: 1})
			c.send("CLS\n")
			c.refused("E_INVALID")
		}},
		{"nsqd answers a half-close by closing", nil, func(b *bench) {
			b.publish("m")
			c := b.subscribe(1, nil)
			c.send("CLS\nREQ %s 0\n", c.message("m", 1).id)
			c.expect("CLOSE_WAIT")
			c.halfClose()
			c.expect("end")
			b.settles(channelCounts{depth: 1})
			b.subscribe(1, nil).message("m", 2)
		}},
		{"a closed connection keeps its messages", slowCases, func(b *bench) {
			b.publish("m")
			c := b.subscribe(1, shortTimeout())
			first := c.message("m", 1)
			c.close()
			b.settles(channelCounts{inFlight: 1})
			b.after(b.subscribe(1, nil).message("m", 2), first.at, asksTimeout)
		}},
		{"an ephemeral channel goes with its last client", nil, func(b *bench) {
			c := b.connect(nil)
			c.send("SUB %s gone#ephemeral\n", b.topic)
			c.expect("OK")
			c.close()
			b.publish("m")
			again := b.connect(nil)
			again.send("SUB %s gone#ephemeral\nRDY 1\n", b.topic)
			again.expect("OK")
		}},
	}
}

// answerCases are FIN, REQ and TOUCH.
func answerCases() []conformCase {
	cases := []conformCase{
		{"FIN", nil, func(b *bench) {
			b.publish("m")
			c := b.subscribe(1, nil)
			id := c.message("m", 1).id
			b.settles(channelCounts{inFlight: 1, clients: 1})
			c.send("FIN %s\n", id)
			b.settles(channelCounts{clients: 1})
			c.nothing()
		}},
		{"REQ 0 goes to the tail", nil, func(b *bench) {
			b.publish("1", "2")
			c := b.subscribe(1, nil)
			c.send("REQ %s 0\n", c.message("1", 1).id)
			c.send("FIN %s\n", c.message("2", 1).id)
			c.send("REQ %s 0\n", c.message("1", 2).id)
			c.message("1", 3)
		}},
		{"REQ with a delay", nil, func(b *bench) {
			const delay = 150 * time.Millisecond
			b.publish("m")
			c := b.subscribe(1, nil)
			id, start := c.message("m", 1).id, time.Now()
			c.send("REQ %s %d\n", id, delay.Milliseconds())
			b.settles(channelCounts{deferred: 1, clients: 1})
			b.after(c.message("m", 2), start, delay)
		}},
		{"REQ is clamped", nil, func(b *bench) {
			b.publish("m")
			c := b.subscribe(1, nil)
			id, start := c.message("m", 1).id, time.Now()
			c.send("REQ %s 3600000\n", id)
			b.after(c.message("m", 2), start, conformMaxReqTimeout)
		}},
		{"TOUCH moves the timeout", slowCases, func(b *bench) {
			const wait = asksTimeout * 2 / 5
			b.publish("m")
			c := b.subscribe(1, shortTimeout())
			first := c.message("m", 1)
			time.Sleep(wait)
			touched := time.Now()
			c.send("TOUCH %s\n", first.id)
			b.after(c.message("m", 2), touched, asksTimeout)
		}},
		{"TOUCH is capped", slowCases, func(b *bench) {
			const wait = asksTimeout / 2
			b.publish("m")
			c := b.subscribe(1, shortTimeout())
			first := c.message("m", 1)
			for range 2 {
				time.Sleep(wait)
				c.send("TOUCH %s\n", first.id)
			}
			second := c.message("m", 2)
			b.after(second, first.at, conformMaxMsgTimeout-asksTimeout/10)
			if took := second.at.Sub(first.at); took >= 2*wait+asksTimeout {
				b.Errorf("%v, want %v at most", took, conformMaxMsgTimeout)
			}
		}},
	}
	for _, command := range []string{"FIN", "REQ", "TOUCH"} {
		line := func(id string) string {
			if command == "REQ" {
				return command + " " + id + " 0\n"
			}
			return command + " " + id + "\n"
		}
		code := "E_" + command + "_FAILED"
		cases = append(cases,
			conformCase{command + " of an unknown id", nil, func(b *bench) {
				c := b.subscribe(1, nil)
				c.send("%s", line("0123456789abcdef"))
				c.refused(code)
			}},
			conformCase{command + " of a finished message", nil, func(b *bench) {
				b.publish("m")
				c := b.subscribe(1, nil)
				id := c.message("m", 1).id
				c.send("FIN %s\n%s", id, line(id))
				c.refused(code)
			}},
			conformCase{command + " of another client's message", slowCases, func(b *bench) {
				b.publish("m")
				c := b.subscribe(1, shortTimeout())
				id := c.message("m", 1).id
				c.send("RDY 0\n")
				other := b.subscribe(1, nil)
				if got := other.message("m", 2).id; got != id {
					b.Fatalf("id %s, then %s", id, got)
				}
				c.send("%s", line(id))
				c.refused(code)
				other.send("FIN %s\n", id)
				b.settles(channelCounts{clients: 2})
			}},
			conformCase{command + " after CLS of a timed-out message", slowCases, func(b *bench) {
				b.publish("m")
				c := b.subscribe(1, shortTimeout())
				id := c.message("m", 1).id
				c.send("CLS\n")
				c.expect("CLOSE_WAIT")
				b.settles(channelCounts{depth: 1, clients: 1})
				c.send("%s", line(id))
				c.refused(code)
			}})
	}
	return cases
}
