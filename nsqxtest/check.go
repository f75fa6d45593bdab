package nsqxtest

import (
	"fmt"
	"time"
)

// Check is the name of a rule that a [Server] checks.
type Check string

// The checks. The server also answers a client that breaks a rule as nsqd does.
const (
	// CheckHandshake: IDENTIFY comes first and only once, then AUTH if the server asks for it. The
	// client sends nothing before their answers, and nothing before compression starts.
	CheckHandshake Check = "handshake"
	// CheckState: no RDY, FIN, REQ, TOUCH or CLS before SUB, no second SUB or CLS, no SUB without
	// heartbeats.
	CheckState Check = "state"
	// CheckSyntax: commands, names, numbers and sizes are what nsqd accepts.
	CheckSyntax Check = "syntax"
	// CheckRDY: RDY is between 0 and max_rdy_count, and does not come after CLS.
	CheckRDY Check = "rdy"
	// CheckMaxInFlight: the RDY counts of a consumer stay within a limit; see
	// [WithMaxInFlightCheck].
	CheckMaxInFlight Check = "max-in-flight"
	// CheckAnswers: FIN, REQ and TOUCH name a message that was delivered on their connection. Each
	// delivery gets one FIN or REQ, and no TOUCH after it. An answer after the message timeout is
	// allowed: nsqd refuses it, and nothing else happens.
	CheckAnswers Check = "answers"
	// CheckHeartbeat: the client answers heartbeats, with any command, and reads what the server
	// sends.
	CheckHeartbeat Check = "heartbeat"
	// CheckLeftover: no client is subscribed at the end of the test.
	CheckLeftover Check = "leftover"
)

func allChecks() []Check {
	return []Check{CheckHandshake, CheckState, CheckSyntax, CheckRDY, CheckMaxInFlight, CheckAnswers, CheckHeartbeat, CheckLeftover}
}

// Violation says which rule a client has broken.
type Violation struct {
	Time  time.Time
	Conn  int // number of the dial of its connection, from 1
	Check Check
	Text  string
}

// String returns connection, check and text.
func (v Violation) String() string {
	return fmt.Sprintf("connection %d: %s: %s", v.Conn, v.Check, v.Text)
}

// Violations returns the rules that clients have broken so far. Each is, or is about to be,
// reported to the test as an error.
func (s *Server) Violations() []Violation {
	s.mu.Lock()
	defer s.unlock()
	return append([]Violation(nil), s.violations...)
}

// violate records a violation; unlock reports it. The caller holds server.mu.
func (c *ServerConn) violate(check Check, format string, args ...any) {
	s := c.server
	if s.cfg.disabled[check] {
		return
	}
	v := Violation{Time: time.Now(), Conn: c.n, Check: check, Text: fmt.Sprintf(format, args...)}
	s.violations = append(s.violations, v)
	s.unreported = append(s.unreported, v)
}

// unlock unlocks s.mu and then reports the violations recorded meanwhile: a testing.TB is foreign
// code and must not be called with a lock held. The test must not be over, so only goroutines that
// s.running counts, and callers of the methods of Server, may have something to report.
func (s *Server) unlock() {
	found := s.unreported
	s.unreported = nil
	s.mu.Unlock()
	for _, v := range found {
		s.tb.Errorf("nsqxtest: %s: %v", s.Addr(), v)
	}
}
