package nsqxtest_test

import (
	"fmt"
	"io"
	"time"

	"github.com/nsqx/nsqx/nsqxtest"
)

// After a half-close the peer reads io.EOF but can still write.
func ExamplePipe() {
	client, server := nsqxtest.Pipe()
	defer client.Close()
	defer server.Close()

	fmt.Fprint(client, "FIN 0123456789abcdef\n")
	_ = client.CloseWrite()

	commands, err := io.ReadAll(server)
	fmt.Printf("server read %q, %v\n", commands, err)

	fmt.Fprint(server, "bye")
	_ = server.Close()
	answer, err := io.ReadAll(client)
	fmt.Printf("client read %q, %v\n", answer, err)
	// Output:
	// server read "FIN 0123456789abcdef\n", <nil>
	// client read "bye", <nil>
}

// Write blocks while the buffer is full. So a test simulates a peer that does not read.
func ExamplePipeConn_SetBuffer() {
	client, server := nsqxtest.Pipe()
	defer client.Close()
	defer server.Close()

	client.SetBuffer(4)
	_ = client.SetWriteDeadline(time.Now().Add(time.Millisecond))
	n, err := client.Write([]byte("NOP\nNOP\n"))
	fmt.Println(n, "bytes,", err)
	// Output:
	// 4 bytes, write pipe client->server: i/o timeout
}

// A reset discards what the peer has not read.
func ExamplePipeConn_Reset() {
	client, server := nsqxtest.Pipe()
	defer server.Close()

	fmt.Fprint(client, "lost")
	client.Reset()
	_, err := server.Read(make([]byte, 4))
	fmt.Println(err)
	// Output:
	// read pipe server->client: read: connection reset by peer
}
