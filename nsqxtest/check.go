package nsqxtest

import (
	"fmt"
	"time"
)

// Check names one of the rules that a [Server] holds its clients to.
type Check string

// What is checked. A client that breaks a rule is also answered as nsqd answers it.
const (
	// CheckHandshake: IDENTIFY comes first and once, then AUTH if it is asked for, and nothing before their answers; nothing is
	// sent ahead of the switch to compression.
	CheckHandshake Check = "handshake"
	// CheckState: no RDY, FIN, REQ, TOUCH or CLS before SUB, no second SUB or CLS, no SUB without heartbeats.
	CheckState Check = "state"
	// CheckSyntax: commands, names, numbers and sizes are what nsqd accepts.
	CheckSyntax Check = "syntax"
	// CheckRDY: RDY is 0 to max_rdy_count, and there is none after CLS.
	CheckRDY Check = "rdy"
	// CheckMaxInFlight: see [WithMaxInFlightCheck].
	CheckMaxInFlight Check = "max-in-flight"
	// CheckAnswers: FIN, REQ and TOUCH name a message that was delivered on their connection; each delivery gets one FIN or
	// REQ, and no TOUCH after it. An answer that comes after the message timeout is in order: nsqd refuses it, and that is all.
	CheckAnswers Check = "answers"
	// CheckHeartbeat: heartbeats are answered, by any command, and what is sent is read.
	CheckHeartbeat Check = "heartbeat"
	// CheckLeftover: at the end of the test no client is subscribed any more.
	CheckLeftover Check = "leftover"
)

func allChecks() []Check {
	return []Check{CheckHandshake, CheckState, CheckSyntax, CheckRDY, CheckMaxInFlight, CheckAnswers, CheckHeartbeat, CheckLeftover}
}

// Violation is a rule that a client has broken.
type Violation struct {
	Time  time.Time
	Conn  int // which dial of the server the client's connection was, from 1
	Check Check
	Text  string
}

// String names the connection, the check and what happened.
func (v Violation) String() string {
	return fmt.Sprintf("connection %d: %s: %s", v.Conn, v.Check, v.Text)
}

// Violations returns what clients have done wrong so far. All of it has been reported to the test as errors, or is about
// to be.
func (s *Server) Violations() []Violation {
	s.mu.Lock()
	defer s.unlock()
	return append([]Violation(nil), s.violations...)
}

// violate notes what a client has done wrong; unlock reports it. The caller holds s.mu.
func (c *ServerConn) violate(check Check, format string, args ...any) {
	s := c.server
	if s.cfg.off[check] {
		return
	}
	v := Violation{Time: time.Now(), Conn: c.n, Check: check, Text: fmt.Sprintf(format, args...)}
	s.violations = append(s.violations, v)
	s.unreported = append(s.unreported, v)
}

// unlock unlocks s.mu and reports what was found meanwhile: a testing.TB is code of others, not to be called with a lock
// held. Only what s.running counts, and who calls the server's methods, may get here with something to report: the test
// must not be over.
func (s *Server) unlock() {
	found := s.unreported
	s.unreported = nil
	s.mu.Unlock()
	for _, v := range found {
		s.tb.Errorf("nsqxtest: %s: %v", s.cfg.addr, v)
	}
}
