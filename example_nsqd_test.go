package nsqx_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/nsqxtest"
)

// pretended is an nsqd in memory, for the examples: it delivers a few messages once, takes what is published, and keeps what
// it hears of all that.
type pretended struct {
	bodies []string
	done   func() // called when all are answered

	mu       sync.Mutex
	heard    []string // answers and publishes; complete when Run has returned
	answered int      // by the subscribed connection
}

// Config connects to it.
func (n *pretended) Config() conn.Config {
	return conn.Config{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := nsqxtest.Pipe()
		go n.serve(server)
		return client, nil
	}}
}

func (n *pretended) serve(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	_, _ = r.Discard(len("  V2"))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch word := strings.Fields(line); word[0] {
		case "IDENTIFY":
			payload(r)
			frame(nc, 0, "OK")
		case "PUB":
			_, body, _ := envelope.Split([]byte(payload(r)))
			n.hear(fmt.Sprintf("PUB %s: %s", word[1], body))
			frame(nc, 0, "OK")
		case "SUB":
			frame(nc, 0, "OK")
			for i, body := range n.bodies {
				header := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
				header = binary.BigEndian.AppendUint16(header, 1)
				frame(nc, 2, string(header)+fmt.Sprintf("%016x", i+1)+body)
			}
		case "CLS":
			frame(nc, 0, "CLOSE_WAIT")
		case "FIN", "REQ":
			n.hear(strings.Replace(strings.TrimSpace(line), "000000000000000", "", 1))
			if n.answered++; n.answered == len(n.bodies) {
				n.done()
			}
		}
	}
}

// hear notes what came over one of the connections: dead letters have their own.
func (n *pretended) hear(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = append(n.heard, what)
}

// payload reads what follows a command: its size, and that many bytes.
func payload(r io.Reader) []byte {
	var size [4]byte
	_, _ = io.ReadFull(r, size[:])
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, _ = io.ReadFull(r, b)
	return b
}

func frame(w io.Writer, typ uint32, data string) {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(data)))
	b = binary.BigEndian.AppendUint32(b, typ)
	_, _ = w.Write(append(b, data...))
}
