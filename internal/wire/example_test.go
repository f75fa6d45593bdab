package wire_test

import (
	"encoding/hex"
	"fmt"

	"github.com/nsqx/nsqx/internal/wire"
)

// A small read loop: all complete frames of a buffer, and the length of the incomplete one.
func ExampleNextFrame() {
	read, _ := hex.DecodeString("0000000600000000" + "4f4b" + // OK
		"00000020" + "00000002" + "0000000000000001" + "0001" + "30613162326333643465356636373839" + "6869" + // a message
		"0000000f00000000" + "5f6865") // the beginning of a heartbeat
	var commands []byte
	for {
		typ, data, n, need, err := wire.NextFrame(read, 1<<20)
		if err != nil {
			fmt.Println(err)
			return
		}
		if n == 0 {
			fmt.Printf("%d of %d bytes have arrived\n", len(read), need)
			break
		}
		read = read[n:]
		if typ != wire.FrameMessage {
			fmt.Printf("type %d: %s\n", typ, data)
			continue
		}
		_, attempts, id, body, err := wire.DecodeMessage(data)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("message %s, attempt %d: %s\n", id, attempts, body)
		commands = wire.AppendFIN(commands, &id)
	}
	fmt.Printf("%s", commands)
	// Output:
	// type 0: OK
	// message 0a1b2c3d4e5f6789, attempt 1: hi
	// 11 of 19 bytes have arrived
	// FIN 0a1b2c3d4e5f6789
}

func ExampleCheckTopic() {
	fmt.Println(wire.CheckTopic("orders#ephemeral"))
	fmt.Println(wire.CheckTopic("new orders"))
	// Output:
	// <nil>
	// nsqx: topic "new orders" has " " at byte 3: use 1 to 64 of [.a-zA-Z0-9_-], the last ten may be "#ephemeral"
}
