// Package conn implements one connection to one nsqd: it dials, negotiates (IDENTIFY, TLS, compression,
// AUTH, SUB), then streams messages and answers until the connection is drained and closed.
//
// Most programs need only [Config], which package nsqx accepts in its options. Use [Dial] directly to
// build another client on the protocol: conn knows nothing of handlers, retries, backoff, nsqlookupd or
// other connections, and it does not reconnect.
//
// # Life of a connection
//
// [Dial] returns after the handshake. [Conn.Serve] then runs the connection, and returns when it has
// ended. To consume, dial with a [Subscription], call [Conn.SetQuota], and answer the messages that the
// [Sink] receives. To publish, dial without a Subscription and call [Conn.Publish]. To end gracefully,
// call [Conn.StopDelivery], answer what is in flight, and call [Conn.CloseWrite]; [Conn.Abort] ends at
// once. The package example does all of this.
//
// # Five things to know
//
//  1. The Config is a requirement, not a wish. An nsqd without the configured TLS, compression or AUTH
//     is refused before a secret or a subscription is sent to it. Exceptions are settings of their own,
//     such as CompressionOptional.
//  2. Nothing arrives before [Conn.SetQuota]. The connection derives RDY from the quota and from the
//     rate at which nsqd sends; RDY cannot be set.
//  3. The Sink runs in the read loop and must not block: heartbeats wait for it. Every message must be
//     answered once (Finish, Requeue, GiveUp or Forget) and then released; its body is invalid
//     afterwards.
//  4. Answers are queued, never awaited. true means queued; only a nil error of Serve after CloseWrite
//     proves that nsqd has read all of them. A REQ, a TOUCH or a GiveUp is not sent once nsqd may have
//     redelivered the message.
//  5. A failed connection returns an [*Error], which names the address and the phase. A failed publish
//     returns a [*PublishError], which is exactly one of [ErrRejected], [ErrNotSent] and
//     [ErrUnconfirmed].
package conn
