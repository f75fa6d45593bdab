package nsqxtest_test

import (
	"fmt"
	"io"
	"time"

	"github.com/nsqx/nsqx/nsqxtest"
)

// A half-close tells the peer that nothing follows, and leaves the way back open.
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

// Write blocks once the peer has let the buffer fill up, so a frozen peer is one that does not read.
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

// A reset takes away what the peer has not read yet.
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
