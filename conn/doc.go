// Package conn is one connection to one nsqd: dial, IDENTIFY, TLS, compression, AUTH, SUB, and then the stream of
// messages and answers until the connection is drained and closed.
//
// It knows nothing of handlers, retries or other connections. What a [Config] asks for is required: an nsqd that
// cannot do it is refused before a secret or a subscription is sent to it.
//
// Every error is, or wraps, an [*Error], which names the address and the phase in which the connection failed.
package conn
