package e2e

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

func isPlain(x *target) bool { return x.plain() }
func isAuth(x *target) bool  { return x.auth }

func largest() string { return strings.Repeat("x", conformMaxMsgSize) }

// publishCases are PUB, MPUB and DPUB that succeed.
func publishCases() []conformCase {
	return []conformCase{
		{"PUB, MPUB and DPUB", nil, func(b *bench) {
			p := b.connect(nil)
			p.send("%s%s%s", withBody("PUB "+b.topic, "1"), mpub(b.topic, "2", "3"), withBody("DPUB "+b.topic+" 0", "4"))
			for range 3 {
				p.expect("OK")
			}
			c := b.subscribe(conformMaxRDY, nil)
			for i := range 4 {
				c.message(fmt.Sprint(i+1), 1)
			}
		}},
		{"DPUB with the longest delay", nil, func(b *bench) {
			p := b.connect(nil)
			c := b.subscribe(1, nil)
			start := time.Now()
			p.send("%s", withBody(fmt.Sprintf("DPUB %s %d", b.topic, conformMaxReqTimeout.Milliseconds()), "m"))
			p.expect("OK")
			b.after(c.message("m", 1), start, conformMaxReqTimeout)
		}},
		{"the largest", nil, func(b *bench) {
			p := b.connect(nil)
			p.send("%s%s", withBody("PUB "+b.topic, largest()), mpub(b.topic, largest(), largest()))
			p.expect("OK")
			p.expect("OK")
			c := b.subscribe(conformMaxRDY, nil)
			for range 3 {
				c.message(largest(), 1)
			}
		}},
		{"any bytes", nil, func(b *bench) {
			const body = "\x00\n\xffFIN 0123456789abcdef\n  V2"
			b.publish(body)
			b.subscribe(1, nil).message(body, 1)
		}},
		{"a publishing connection that subscribes", nil, func(b *bench) {
			c := b.subscribe(1, nil)
			c.send("%s", withBody("PUB "+b.topic, "m"))
			got := map[bool]answer{}
			for range 2 { // in any order
				a := c.next("OK and the message")
				got[a.id != ""] = a
			}
			if got[false].text != "OK" || got[true].body != "m" {
				b.Errorf("got %+v", got)
			}
		}},
		{"all channels get a copy", nil, func(b *bench) {
			c := b.subscribe(1, nil)
			other := b.connect(nil)
			other.send("SUB %s other\nRDY 1\n", b.topic)
			other.expect("OK")
			b.publish("m")
			if one, two := c.message("m", 1), other.message("m", 1); one.id != two.id {
				b.Errorf("ids %s and %s", one.id, two.id)
			}
		}},
	}
}

// refusalCases are commands that nsqd rejects. T stands for the topic.
func refusalCases() []conformCase {
	const id = "0123456789abcdef"
	cases := []conformCase{
		{"a bad magic", isPlain, func(b *bench) {
			nc := b.dial(b.TB)
			c := &plainClient{t: b.TB, nc: nc, w: nc, answer: make(chan answer, 10), ended: make(chan struct{})}
			c.listen(nc)
			c.send("XXXX")
			if got := c.next("E_BAD_PROTOCOL"); got.text != "E_BAD_PROTOCOL" && got.text != "error E_BAD_PROTOCOL" {
				b.Errorf("got %+v", got)
			}
			c.expect("end")
		}},
		{"a line without an end", isPlain, func(b *bench) {
			c := b.bare()
			c.send("%s", strings.Repeat("x", 17<<10))
			c.expect("end")
		}},
		{"AUTH that nsqd does not require", isPlain, func(b *bench) {
			c := b.connect(nil)
			c.send("%s", withBody("AUTH", "x"))
			c.refused("E_AUTH_DISABLED")
		}},
		{"AUTH twice", isAuth, func(b *bench) {
			c := b.connect(nil)
			c.send("%s", withBody("AUTH", canary))
			c.refused("E_INVALID")
		}},
		{"AUTH before IDENTIFY", isAuth, func(b *bench) {
			c := b.bare()
			c.send("%sSUB %s c\n", withBody("AUTH", canary), b.topic)
			c.expect(`{"identity":"nsqxtest","identity_url":"","permission_count":1}`)
			c.expect("OK")
		}},
		{"AUTH with a wrong secret", isAuth, func(b *bench) {
			c, _ := b.identify(nil)
			c.send("%s", withBody("AUTH", "wrong"))
			c.refused("E_AUTH_FAILED")
		}},
		{"SUB without heartbeats", nil, func(b *bench) {
			c := b.connect(map[string]any{"heartbeat_interval": -1})
			c.send("SUB %s c\n", b.topic)
			c.refused("E_INVALID")
		}},
	}
	for _, r := range []struct{ command, code string }{
		{"SUB T c\n", "E_AUTH_FIRST"},
		{withBody("PUB T", "x"), "E_AUTH_FIRST"},
		{withBody("DPUB T 0", "x"), "E_AUTH_FIRST"},
		{mpub("T", "x"), "E_AUTH_FIRST"},
	} {
		cases = append(cases, conformCase{fmt.Sprintf("without AUTH %.8q", r.command), isAuth, func(b *bench) {
			c, _ := b.identify(nil)
			c.send("%s", b.onTopic(r.command))
			c.refused(r.code)
		}})
	}
	for _, r := range []struct{ command, code string }{
		{"RDY 1\n", "E_INVALID"},
		{"FIN " + id + "\n", "E_INVALID"},
		{"REQ " + id + " 0\n", "E_INVALID"},
		{"TOUCH " + id + "\n", "E_INVALID"},
		{"CLS\n", "E_INVALID"},
		{"SUB T\n", "E_INVALID"},
		{"SUB T/ c\n", "E_BAD_TOPIC"},
		{"SUB " + strings.Repeat("t", 65) + " c\n", "E_BAD_TOPIC"},
		{"SUB T c/\n", "E_BAD_CHANNEL"},
		{"SUB T #ephemeral\n", "E_BAD_CHANNEL"},
		{"FOO\n", "E_INVALID"},
		{"\n", "E_INVALID"},
		{"pub T\n", "E_INVALID"},
		{withBody("PUB T", ""), "E_BAD_MESSAGE"},
		{withBody("PUB T", largest()+"x"), "E_BAD_MESSAGE"},
		{withBody("PUB T/", "x"), "E_BAD_TOPIC"},
		{withBody("PUB T/", ""), "E_BAD_TOPIC"},
		{"PUB\n", "E_INVALID"},
		{"DPUB T\n", "E_INVALID"},
		{"MPUB\n", "E_INVALID"},
		{withBody("DPUB T -1", "x"), "E_INVALID"},
		{withBody("DPUB T x", "x"), "E_INVALID"},
		{withBody(fmt.Sprintf("DPUB T %d", conformMaxReqTimeout.Milliseconds()+1), "x"), "E_INVALID"},
		{withBody("DPUB T 0", ""), "E_BAD_MESSAGE"},
		{withBody("DPUB T 0", largest()+"x"), "E_BAD_MESSAGE"},
		{withBody("DPUB T/ 0", "x"), "E_BAD_TOPIC"},
		{withBody("MPUB T", ""), "E_BAD_BODY"},
		{mpub("T"), "E_BAD_BODY"},
		{withBody("MPUB T", "\xff\xff\xff\xff"), "E_BAD_BODY"},
		{mpub("T", "x", ""), "E_BAD_MESSAGE"},
		{mpub("T", largest()+"x"), "E_BAD_MESSAGE"},
		{"MPUB T\n" + string(binary.BigEndian.AppendUint32(nil, conformMaxBodySize+1)), "E_BAD_BODY"},
		{mpub("T/", "x"), "E_BAD_TOPIC"},
	} {
		cases = append(cases, conformCase{fmt.Sprintf("before SUB %.14q", r.command), nil, func(b *bench) {
			c := b.connect(nil)
			c.send("%s", b.onTopic(r.command))
			c.refused(r.code)
		}})
	}
	for _, r := range []struct{ command, code string }{
		{fmt.Sprintf("RDY %d\n", conformMaxRDY+1), "E_INVALID"},
		{"RDY -1\n", "E_INVALID"},
		{"RDY x\n", "E_INVALID"},
		{"SUB T c\n", "E_INVALID"},
		{"FIN\n", "E_INVALID"},
		{"FIN abc\n", "E_INVALID"},
		{"REQ " + id + "\n", "E_INVALID"},
		{"REQ " + id + " -1\n", "E_INVALID"},
		{"REQ abc 0\n", "E_INVALID"},
		{"TOUCH\n", "E_INVALID"},
		{"TOUCH abc\n", "E_INVALID"},
		{withBody("AUTH", canary), "E_INVALID"},
		{withBody("IDENTIFY", "{}"), "E_INVALID"},
		{withBody("PUB T", ""), "E_BAD_MESSAGE"},
	} {
		cases = append(cases, conformCase{fmt.Sprintf("after SUB %.14q", r.command), nil, func(b *bench) {
			c := b.subscribe(1, nil)
			c.send("%s", b.onTopic(r.command))
			c.refused(r.code)
		}})
	}
	return cases
}

// onTopic replaces T by the topic.
func (b *bench) onTopic(command string) string {
	name, rest, _ := strings.Cut(command, " T")
	if rest == "" {
		return command
	}
	return name + " " + b.topic + rest
}
