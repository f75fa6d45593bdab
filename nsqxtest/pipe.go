package nsqxtest

import "github.com/nsqx/nsqx/internal/pipe"

// PipeConn is one end of a [Pipe]: a [net.Conn] that behaves like a TCP connection where
// [net.Pipe] does not. Writes go to a buffer, and each direction can be closed on its own. Its
// methods may be called concurrently; the bytes of one Write stay together. Errors are
// *[net.OpError], except io.EOF. In addition to the methods of net.Conn it has
//
//	CloseWrite() error  // half-close: the peer reads the buffered bytes, then io.EOF
//	Reset()             // close with a TCP reset: unread bytes are lost
//	SetBuffer(n int)    // limit in bytes of what may be written but not read yet; 0: the default, 64 KiB
type PipeConn = pipe.Conn

// Pipe returns the two ends of an in-memory connection. Each direction buffers 64 KiB. Close both
// ends, as with any connection; a Pipe has no goroutine.
//
// Under testing/synctest every blocked method is durably blocked, and deadlines follow the clock
// of the bubble. Use a Pipe only in the bubble that made it.
func Pipe() (client, server *PipeConn) { return pipe.New() }
