// Tests of soak_account_helper_test.go and soak_wire_helper_test.go.

package e2e

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
)

// frameOf returns a message frame as nsqd sends it.
func frameOf(id int, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+26+len(body)))
	b = append(b, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	return fmt.Appendf(b, "%016x%s", id, body)
}

// TestWiretap: the wiretap reports each violation, and only violations.
func TestWiretap(t *testing.T) {
	t.Parallel()
	type step struct {
		read  []byte
		write string
		after time.Duration
		do    func(*account)
	}
	one := key{0, 0}
	deliver := step{read: frameOf(1, one.body(10))}
	success := step{do: func(a *account) { a.succeed(one) }}
	answer := func(command string) step { return step{write: command + "\n"} }
	fin, req := answer(fmt.Sprintf("FIN %016x", 1)), answer(fmt.Sprintf("REQ %016x 5", 1))
	touch := answer(fmt.Sprintf("TOUCH %016x", 1))
	for name, tt := range map[string]struct {
		steps []step
		want  string // part of the only fault; empty for none
	}{
		"FIN":                      {[]step{deliver, success, fin}, ""},
		"REQ in time":              {[]step{deliver, {after: 900 * time.Millisecond}, req, deliver, success, fin}, ""},
		"late FIN, then REQ":       {[]step{deliver, {after: 2 * time.Second}, deliver, success, fin, req}, ""},
		"TOUCH gives time":         {[]step{deliver, {after: 900 * time.Millisecond}, touch, {after: 900 * time.Millisecond}, req}, ""},
		"FIN of a failure":         {[]step{deliver, fin}, "has succeeded 0 times"},
		"FIN twice for a success":  {[]step{deliver, deliver, success, fin, fin}, "FIN number 2"},
		"FIN of what is not there": {[]step{fin}, "has not delivered"},
		"REQ after FIN":            {[]step{deliver, success, fin, req}, "has not delivered"},
		"late REQ":                 {[]step{deliver, {after: 1100 * time.Millisecond}, req}, "too late"},
		"late TOUCH":               {[]step{deliver, {after: 1100 * time.Millisecond}, touch}, "too late"},
		"beyond max-msg-timeout": {[]step{deliver, {after: 900 * time.Millisecond}, touch, {after: 900 * time.Millisecond}, touch,
			{after: 300 * time.Millisecond}, req}, "too late"},
		"REQ too long":        {[]step{deliver, answer(fmt.Sprintf("REQ %016x 1001", 1))}, "with the delay 1001"},
		"RDY":                 {[]step{answer("RDY 10"), answer("RDY 3"), answer("RDY 10"), answer("CLS"), answer("RDY 0")}, ""},
		"RDY above the limit": {[]step{answer("RDY 11")}, "adds up to 11"},
		"RDY after CLS":       {[]step{answer("CLS"), answer("RDY 1")}, "after CLS"},
		"RDY below 0":         {[]step{answer("RDY -1")}, "RDY -1"},
		"unknown body":        {[]step{{read: frameOf(1, "0-1|")}, success, fin}, ""},
		"no body of ours":     {[]step{{read: frameOf(1, "hello")}}, "nobody has published"},
		"unknown command":     {[]step{answer("ZAP")}, "has written"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book := newAccount(1)
			book.issue(0)
			book.issue(0)
			book.succeed(key{0, 1})
			w := &wiretap{book: book, timeout: time.Second, maxTimeout: 2 * time.Second, maxRequeue: time.Second,
				limit: 10, conns: make(map[*tapped]struct{})}
			c := &tapped{tap: w, magic: true, held: make(map[[16]byte][]delivered)}
			w.conns[c] = struct{}{}
			now := time.Now()
			for _, s := range tt.steps {
				now = now.Add(s.after)
				if s.do != nil {
					s.do(book)
				}
				for _, b := range s.read { // byte by byte
					c.in = append(c.in, b)
					c.frames(now)
				}
				for _, b := range []byte(s.write) {
					c.out = append(c.out, b)
					c.commands(now)
				}
			}
			switch {
			case tt.want == "" && len(book.faults) > 0:
				t.Errorf("faults %q, want none", book.faults)
			case tt.want != "" && (len(book.faults) != 1 || !strings.Contains(book.faults[0], tt.want)):
				t.Errorf("faults %q, want one with %q", book.faults, tt.want)
			}
		})
	}
}

// TestAccount: the account reports lost messages and extra deliveries, and only those.
func TestAccount(t *testing.T) {
	t.Parallel()
	unconfirmed := &nsqx.PublishError{Kind: nsqx.ErrUnconfirmed}
	notSent := &nsqx.PublishError{Kind: nsqx.ErrNotSent}
	handle := func(a *account, k key) {
		a.begin(k.body(0))
		a.succeed(k)
	}
	for name, tt := range map[string]struct {
		do     func(a *account, k key)
		totals totals
		want   string
	}{
		"all is well": {func(a *account, k key) { a.result(k, nil); handle(a, k) }, totals{accepted: 1}, ""},
		"lost":        {func(a *account, k key) { a.result(k, nil); a.begin(k.body(0)) }, totals{accepted: 1}, "never handled"},
		"dead letter": {func(a *account, k key) {
			a.result(k, nil)
			a.deadLetter([]byte(k.body(0)))
			a.deadLetterSeen(k.body(0))
		}, totals{accepted: 1}, ""},
		"dead letter lost":     {func(a *account, k key) { a.result(k, nil); a.deadLetter([]byte(k.body(0))) }, totals{accepted: 1}, "no dead letter"},
		"unconfirmed is there": {func(a *account, k key) { a.result(k, unconfirmed); handle(a, k) }, totals{accepted: 1}, ""},
		"unconfirmed is not":   {func(a *account, k key) { a.result(k, unconfirmed) }, totals{}, ""},
		"not sent is there":    {func(a *account, k key) { a.result(k, notSent); handle(a, k) }, totals{}, "not sent or rejected"},
		"published twice":      {func(a *account, k key) { a.result(k, nil); handle(a, k) }, totals{accepted: 2}, "nsqds took 2"},
		"acked and not taken":  {func(a *account, k key) { a.result(k, nil); handle(a, k) }, totals{}, "nsqds took 0"},
		"requeued":             {func(a *account, k key) { a.result(k, nil); handle(a, k); handle(a, k) }, totals{accepted: 1, requeued: 1}, ""},
		"too often":            {func(a *account, k key) { a.result(k, nil); handle(a, k); handle(a, k) }, totals{accepted: 1}, "1 extra"},
		"another error":        {func(a *account, k key) { a.result(k, errFailed) }, totals{}, "none of the three"},
		"unknown":              {func(a *account, k key) { a.begin(key{0, 7}.body(0)) }, totals{requeued: 1}, "nobody has published"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(1)
			tt.do(a, a.issue(0))
			a.close(tt.totals)
			switch {
			case tt.want == "" && len(a.faults) > 0:
				t.Errorf("faults %q, want none", a.faults)
			case tt.want != "" && (len(a.faults) != 1 || !strings.Contains(a.faults[0], tt.want)):
				t.Errorf("faults %q, want one with %q", a.faults, tt.want)
			}
		})
	}
}
