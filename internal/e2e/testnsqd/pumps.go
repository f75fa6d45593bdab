package testnsqd

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
)

// mark makes main, and all goroutines that come from it, known by the nsqd that they belong to.
func (s *Server) mark(main func()) {
	pprof.Do(context.Background(), pprof.Labels(s.label()), func(context.Context) { main() })
}

func (s *Server) label() (key, value string) { return "testnsqd", fmt.Sprintf("nsqd-%d.", s.id) }

// pumping says whether the message pump of a client has not ended. It may be about to take one more message, and until it
// has noted that as in flight nsqd counts the message nowhere: one that exits then loses it.
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
