package fake

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Journal keeps the commands that a peer has read. The zero value is empty. It is safe for
// concurrent use.
type Journal struct {
	mu       sync.Mutex
	commands []string
}

// Follow reads commands until the connection ends.
func (j *Journal) Follow(p *Peer) {
	for {
		cmd, err := p.Next()
		if err != nil {
			return
		}
		j.mu.Lock()
		j.commands = append(j.commands, cmd.String())
		j.mu.Unlock()
	}
}

// Commands returns the commands with one of these names; ids lose their zeros.
func (j *Journal) Commands(names ...string) (commands []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, cmd := range j.commands {
		words := strings.Split(cmd, " ")
		if !slices.Contains(names, words[0]) {
			continue
		}
		for i, w := range words {
			if len(w) == 16 {
				words[i] = strings.TrimLeft(w, "0")
			}
		}
		commands = append(commands, strings.Join(words, " "))
	}
	return commands
}

// Messages returns the frames of n messages with the ids first, first+1, …
func Messages(first uint64, n int) (frames []byte) {
	for i := range uint64(n) {
		frames = append(frames, Message(time.Now().UnixNano(), ID(first+i), 1, []byte("x"))...)
	}
	return frames
}
