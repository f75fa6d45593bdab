package main

import "time"

const fullName = "full"

// fullWork is the default duration of a handler.
const fullWork = 2 * time.Millisecond

// fullScenario sends large bodies faster than handlers run: a client holds as many as it requests.
func fullScenario() scenario {
	s := senderScenario()
	s.name = fullName
	s.flags = []string{"workers", "connections", "inflight", "work"}
	s.messages = func(job) int { return 5_000 }
	s.contenders = []contender{
		{client: "bare", maxInFlight: 2500, idle: true},
		{client: "go-nsq", maxInFlight: 2500},
		{client: "nsqx"},
		{client: "nsqx-fixed", maxInFlight: 2500},
	}
	s.title = func(j job) string {
		return "memory under load: " + senderTitle(j) + ", " + j.Work.String() + " of work"
	}
	s.defaults = func(j *job) { j.Size, j.Connections, j.Work = 64<<10, 4, fullWork }
	return s
}
