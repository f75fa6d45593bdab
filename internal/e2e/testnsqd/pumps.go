package testnsqd

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
)

// mark labels main and all goroutines it starts with this nsqd.
func (s *Server) mark(main func()) {
	pprof.Do(context.Background(), pprof.Labels(s.label()), func(context.Context) { main() })
}

func (s *Server) label() (key, value string) { return "testnsqd", fmt.Sprintf("nsqd-%d.", s.id) }

// pumping reports whether a client's message pump still runs. It may take one more message, which
// nsqd counts nowhere until it is in flight and loses if it exits then.
func (s *Server) pumping() bool {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		s.tb.Fatalf("testnsqd: %v", err)
	}
	_, label := s.label()
	for _, goroutine := range bytes.Split(profile.Bytes(), []byte("\n\n")) {
		if bytes.Contains(goroutine, []byte(label)) && bytes.Contains(goroutine, []byte(".(*protocolV2).")) {
			return true
		}
	}
	return false
}
