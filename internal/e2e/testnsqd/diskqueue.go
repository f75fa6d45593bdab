package testnsqd

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// DoubleQueue doubles every message in a channel's queue on disk, each under its own id, as a kill may
// leave them. nsqd must be stopped, must never have kept the channel's messages in memory, and none may
// have been read.
func (s *Server) DoubleQueue(topic, channel string) {
	s.tb.Helper()
	if s.running.Load() != nil {
		s.tb.Fatalf("testnsqd: nsqd at %s is running", s.tcp)
	}
	base := filepath.Join(s.dir, topic+":"+channel+".diskqueue.")
	data, meta := base+"000000.dat", base+"meta.dat"
	records, err := os.ReadFile(data)
	if err != nil {
		s.tb.Fatalf("testnsqd: queue of %s/%s: %v", topic, channel, err)
	}
	var doubled []byte
	n := 0
	for rest := records; len(rest) > 0; n += 2 {
		size := 4 + int(binary.BigEndian.Uint32(rest))
		doubled = append(append(doubled, rest[:size]...), rest[:size]...)
		rest = rest[size:]
	}
	position := fmt.Sprintf("%d\n0,0\n0,%d\n", n, len(doubled))
	for path, content := range map[string][]byte{data: doubled, meta: []byte(position)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			s.tb.Fatalf("testnsqd: queue of %s/%s: %v", topic, channel, err)
		}
	}
}
