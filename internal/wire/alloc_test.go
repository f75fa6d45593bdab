package wire_test

import (
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

func TestAllocations(t *testing.T) {
	id := wire.ID([]byte(id1))
	message := encodeMessage(5, 1, id1, strings.Repeat("x", 200))
	stream := encodeFrame(wire.FrameMessage, message)
	body, topic := []byte("body"), "orders#ephemeral"
	bodies := [][]byte{body, body}
	dst := make([]byte, 0, 1024)
	for name, do := range map[string]func(){
		"NextFrame":            func() { mustFrame(wire.NextFrame(stream, 1<<20)) },
		"NextFrame incomplete": func() { wire.NextFrame(stream[:20], 1<<20) },
		"NextFrame peek":       func() { wire.NextFrame(stream[:6], 1<<20) },
		"DecodeMessage":        func() { mustMessage(wire.DecodeMessage(message)) },
		"IsHeartbeat":          func() { wire.IsHeartbeat(body) },
		"AppendFIN":            func() { dst = wire.AppendFIN(dst[:0], &id) },
		"AppendREQ":            func() { dst = wire.AppendREQ(dst[:0], &id, 1500) },
		"AppendTOUCH":          func() { dst = wire.AppendTOUCH(dst[:0], &id) },
		"AppendRDY":            func() { dst = wire.AppendRDY(dst[:0], 2500) },
		"AppendNOP":            func() { dst = wire.AppendNOP(dst[:0]) },
		"AppendCLS":            func() { dst = wire.AppendCLS(dst[:0]) },
		"AppendSUB":            func() { dst = wire.AppendSUB(dst[:0], topic, topic) },
		"AppendIDENTIFY":       func() { dst = wire.AppendIDENTIFY(dst[:0], body) },
		"AppendAUTH":           func() { dst = wire.AppendAUTH(dst[:0], topic) },
		"AppendPUB":            func() { dst = wire.AppendPUB(dst[:0], topic, body) },
		"AppendDPUB":           func() { dst = wire.AppendDPUB(dst[:0], topic, 1500, body) },
		"AppendMPUB":           func() { dst = wire.AppendMPUB(dst[:0], topic, bodies) },
		"CheckTopic":           func() { must(wire.CheckTopic(topic)) },
		"CheckChannel":         func() { must(wire.CheckChannel(topic)) },
		"CheckBody":            func() { must(wire.CheckBody(body, 10)) },
		"CheckBodies":          func() { must(wire.CheckBodies(bodies, 10, 100)) },
		"CheckDelay":           func() { must(wire.CheckDelay(1500, 2000)) },
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func mustFrame(_ wire.FrameType, _ []byte, n, _ int, err error) {
	if must(err); n == 0 {
		panic("incomplete")
	}
}

func mustMessage(_ int64, _ uint16, _ wire.ID, _ []byte, err error) { must(err) }
