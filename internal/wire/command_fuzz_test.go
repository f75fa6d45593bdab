package wire_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

// command is a decoded command: the words of its line, and its bodies.
type command struct {
	Words  []string
	Bodies []string
}

// readCommand reads a command as nsqd does. It shares no code with the package.
func readCommand(r *bufio.Reader) (command, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return command{}, err
	}
	c := command{Words: strings.Split(strings.TrimSuffix(line, "\n"), " ")}
	words, bodies := 0, 0
	switch c.Words[0] {
	case "NOP", "CLS":
		words = 1
	case "FIN", "TOUCH", "RDY":
		words = 2
	case "REQ", "SUB":
		words = 3
	case "IDENTIFY", "AUTH":
		words, bodies = 1, 1
	case "PUB":
		words, bodies = 2, 1
	case "DPUB":
		words, bodies = 3, 1
	case "MPUB":
		words = 2
	}
	if words != len(c.Words) {
		return c, fmt.Errorf("line %q", line)
	}
	end := -1 // bytes left in r after an MPUB, by its size
	if c.Words[0] == "MPUB" {
		size, err := readUint32(r)
		if err != nil {
			return c, err
		}
		end = r.Buffered() - size
		if bodies, err = readUint32(r); err != nil {
			return c, err
		}
	}
	for range bodies {
		size, err := readUint32(r)
		if err != nil {
			return c, err
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return c, err
		}
		c.Bodies = append(c.Bodies, string(body))
	}
	if end >= 0 && end != r.Buffered() {
		return c, fmt.Errorf("MPUB is %d bytes off its size", end-r.Buffered())
	}
	return c, nil
}

func readUint32(r io.Reader) (int, error) {
	var b [4]byte
	_, err := io.ReadFull(r, b[:])
	return int(binary.BigEndian.Uint32(b[:])), err
}

func FuzzCommands(f *testing.F) {
	f.Add("orders", "billing", []byte(id1), []byte("body"), []byte("other"), int64(1500), uint16(2500))
	f.Add("a#ephemeral", "b#ephemeral", []byte("ABCDEFabcdef0123"), []byte("\n\nFIN x\n"), []byte(""), int64(-1), uint16(0))
	f.Add("a\nb", "c d", []byte("0123456789abcde\n"), []byte{0}, []byte{0xff}, int64(1<<62), uint16(65535))
	f.Fuzz(func(t *testing.T, topic, channel string, rawID, body, other []byte, ms int64, rdy uint16) {
		if wire.CheckTopic(topic) != nil || wire.CheckChannel(channel) != nil {
			return
		}
		if _, err := hex.DecodeString(string(rawID)); err != nil || len(rawID) != 16 {
			rawID = []byte(id1)
		}
		id := wire.ID(rawID)
		delay := strconv.FormatInt(ms, 10)
		var stream []byte
		var want []command
		sent := func(b []byte, words []string, bodies ...string) {
			stream = b
			want = append(want, command{words, bodies})
		}
		sent(wire.AppendIDENTIFY(stream, body), []string{"IDENTIFY"}, string(body))
		sent(wire.AppendAUTH(stream, string(other)), []string{"AUTH"}, string(other))
		sent(wire.AppendSUB(stream, topic, channel), []string{"SUB", topic, channel})
		sent(wire.AppendRDY(stream, int(rdy)), []string{"RDY", strconv.Itoa(int(rdy))})
		sent(wire.AppendFIN(stream, &id), []string{"FIN", string(rawID)})
		sent(wire.AppendREQ(stream, &id, ms), []string{"REQ", string(rawID), delay})
		sent(wire.AppendTOUCH(stream, &id), []string{"TOUCH", string(rawID)})
		sent(wire.AppendNOP(stream), []string{"NOP"})
		sent(wire.AppendPUB(stream, topic, body), []string{"PUB", topic}, string(body))
		sent(wire.AppendDPUB(stream, topic, ms, other), []string{"DPUB", topic, delay}, string(other))
		sent(wire.AppendMPUB(stream, topic, nil), []string{"MPUB", topic})
		sent(wire.AppendMPUB(stream, topic, [][]byte{body, other, body}), []string{"MPUB", topic}, string(body), string(other), string(body))
		sent(wire.AppendCLS(stream), []string{"CLS"})

		r := bufio.NewReaderSize(bytes.NewReader(stream), len(stream))
		if _, err := r.Peek(len(stream)); err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			got, err := readCommand(r)
			if err != nil || !reflect.DeepEqual(got, w) {
				t.Fatalf("command %d: got %q, error %v, want %q", i, got, err, w)
			}
		}
		if _, err := readCommand(r); err != io.EOF {
			t.Fatalf("after the last command: %v", err)
		}
	})
}
