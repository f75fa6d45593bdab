package nsqxtest

import "github.com/nsqx/nsqx/internal/pipe"

// PipeConn is one end of a [Pipe]: a [net.Conn] that behaves as a TCP connection does where that of [net.Pipe] does not.
// Writes go to a buffer, and one direction can be closed while the other goes on. Its methods may be called concurrently;
// the bytes of one Write stay together. Errors are *[net.OpError], except io.EOF. Beside the methods of a net.Conn it has
//
//	CloseWrite() error  // half-close: the peer reads what is buffered, then io.EOF
//	Reset()             // close as a TCP reset does: what nobody has read yet is lost
//	SetBuffer(n int)    // how many bytes may be written ahead of the peer's reads; 0 for the default, 64 KiB
type PipeConn = pipe.Conn

// Pipe returns the two ends of a connection in memory. Each direction buffers 64 KiB. Close both ends, as with any
// connection; a Pipe has no goroutine of its own.
//
// Under testing/synctest every blocked method is durably blocked, and deadlines follow the bubble's clock. Use a Pipe in
// the bubble that made it, and nowhere else.
func Pipe() (client, server *PipeConn) { return pipe.New() }
