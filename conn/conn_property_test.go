package conn_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of a whole connection with random traffic.

// TestRandomHistories checks, with random sizes, segments and orders of settling and releasing,
// that each body is intact until it is released and that each answer is on the wire once.
func TestRandomHistories(t *testing.T) {
	all := layers(t)
	for name, o := range all {
		for i := range 3 {
			seed := rand.Uint64()
			bubbles(t, fmt.Sprintf("%s, seed %d (%d)", name, seed, i), func(t *testing.T) {
				(&history{random: rand.New(rand.NewPCG(seed, 0)), bodies: make(map[string]int)}).run(t, o)
			})
		}
	}
}

type history struct {
	random *rand.Rand // of the writer
	s      *stream

	mu       sync.Mutex
	bodies   map[string]int // sizes of messages sent and not settled, by id
	held     []*handler.Delivery
	more     *sync.Cond
	finished bool
	answered map[string]string // FIN or REQ, by id
}

const historyMessages = 300

func (h *history) run(t *testing.T, o streamOptions) {
	h.more = sync.NewCond(&h.mu)
	h.answered = make(map[string]string)
	o.chunk = []int{0, 0, 100, 5000}[h.random.IntN(4)]
	o.deliver = h.deliver
	h.s = openStream(t, o)
	read := make(chan map[string]string)
	go func() { read <- h.read(t) }()
	var settling sync.WaitGroup
	for range 3 {
		random := rand.New(rand.NewPCG(h.random.Uint64(), 0))
		settling.Go(func() { h.settle(t, random) })
	}
	h.write()
	synctest.Wait()
	h.mu.Lock()
	h.finished = true
	h.mu.Unlock()
	h.more.Broadcast()
	settling.Wait()
	if len(h.bodies) != 0 {
		t.Errorf("%d messages were not delivered", len(h.bodies))
	}
	h.s.CloseWrite()
	got := <-read
	h.s.p.Close()
	if err := h.s.wait(); err != nil {
		t.Error(err)
	}
	for id, want := range h.answered {
		if got[id] != want {
			t.Errorf("message %s: %q on the wire, want %q", id, got[id], want)
		}
	}
	if len(got) != len(h.answered) {
		t.Errorf("%d answers on the wire, want %d", len(got), len(h.answered))
	}
	if st := h.s.Stats(); st.Received != historyMessages || st.InFlight != 0 {
		t.Errorf("stats are %+v", st)
	}
}

// write sends the messages in segments of random sizes, with pauses.
func (h *history) write() {
	for n := uint64(0); n < historyMessages; {
		var raw []byte
		for range 1 + h.random.IntN(40) {
			if n == historyMessages {
				break
			}
			size := h.size()
			h.mu.Lock()
			h.bodies[fake.ID(n)] = size
			h.mu.Unlock()
			raw = append(raw, fake.Message(int64(n), fake.ID(n), 1, pattern(n, size))...)
			n++
		}
		for len(raw) > 0 {
			k := min(len(raw), 1+h.random.IntN(1+h.random.IntN(100_000)))
			h.s.p.Raw(raw[:k])
			raw = raw[k:]
			if h.random.IntN(3) == 0 {
				time.Sleep(time.Duration(h.random.IntN(1000)))
			}
		}
	}
}

func (h *history) size() int {
	switch h.random.IntN(30) {
	case 0:
		return h.random.IntN(150_000)
	case 1:
		return 64<<10 - 40 + h.random.IntN(80)
	case 2, 3:
		return h.random.IntN(10_000)
	case 4:
		return 0
	}
	return h.random.IntN(300)
}

func (h *history) deliver(msgs []handler.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range msgs {
		h.held = append(h.held, &msgs[i])
	}
	h.more.Broadcast()
}

// settle takes messages in random order, holds some for a while, and settles and releases them.
func (h *history) settle(t *testing.T, random *rand.Rand) {
	for {
		h.mu.Lock()
		for len(h.held) == 0 && !h.finished {
			h.more.Wait()
		}
		if len(h.held) == 0 {
			h.mu.Unlock()
			return
		}
		i := random.IntN(len(h.held))
		m := h.held[i]
		h.held[i] = h.held[len(h.held)-1]
		h.held = h.held[:len(h.held)-1]
		id := m.ID.String()
		size, sent := h.bodies[id]
		delete(h.bodies, id)
		h.mu.Unlock()
		if !sent {
			t.Errorf("message %s was delivered, but not sent, or twice", id)
			continue
		}
		want := pattern(uint64(m.Timestamp().UnixNano()), size)
		for range random.IntN(3) {
			if !bytes.Equal(m.Body, want) {
				t.Errorf("message %s, %d bytes: the body is not what was sent", id, size)
			}
			time.Sleep(time.Duration(random.IntN(2000)))
		}
		answer, taken := "", true
		switch random.IntN(5) {
		case 0:
			answer, taken = "REQ", h.s.Requeue(m, time.Duration(random.IntN(1e9)))
		case 1:
			taken = h.s.Forget(m)
		default:
			answer, taken = "FIN", h.s.Finish(m)
		}
		if !taken || h.s.Finish(m) || h.s.Requeue(m, 0) {
			t.Errorf("message %s was not answered once", id)
		}
		if !bytes.Equal(m.Body, want) {
			t.Errorf("message %s, %d bytes: the body is not what was sent, at the end", id, size)
		}
		m.Release()
		if answer != "" {
			h.mu.Lock()
			h.answered[id] = answer
			h.mu.Unlock()
		}
	}
}

// read returns the answers on the wire, by id, until the half-close.
func (h *history) read(t *testing.T) map[string]string {
	answers := make(map[string]string)
	for {
		cmd, err := h.s.p.Next()
		if err != nil {
			return answers
		}
		switch cmd.Name {
		case "FIN", "REQ":
			answers[cmd.Params[0]] += cmd.Name
		case "NOP":
		default:
			t.Errorf("sent %q", cmd)
		}
	}
}
