package wire

import (
	"encoding/binary"
	"strconv"
)

const lenLen = 4 // bytes of the length before a body

// AppendIDENTIFY appends the command that negotiates the connection. body is a JSON object. nsqd
// answers with a JSON object if body asks for feature_negotiation, otherwise with OK.
func AppendIDENTIFY(dst, body []byte) []byte {
	dst = append(dst, "IDENTIFY\n"...)
	return appendBody(dst, body)
}

// AppendAUTH appends the command that presents a secret. nsqd answers with a JSON object. Every
// error is fatal to the connection.
func AppendAUTH(dst []byte, secret string) []byte {
	dst = append(dst, "AUTH\n"...)
	return appendBody(dst, secret)
}

// AppendPUB appends the command that publishes one message. nsqd answers OK. Every error is fatal
// to the connection.
func AppendPUB(dst []byte, topic string, body []byte) []byte {
	dst = append(dst, "PUB "...)
	dst = append(dst, topic...)
	dst = append(dst, '\n')
	return appendBody(dst, body)
}

// AppendDPUB appends the command that publishes one message for delivery after ms milliseconds.
// Unlike REQ, an ms above nsqd's -max-req-timeout (1 h by default) is an error. nsqd answers OK.
// Every error is fatal to the connection.
func AppendDPUB(dst []byte, topic string, ms int64, body []byte) []byte {
	dst = append(dst, "DPUB "...)
	dst = append(dst, topic...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, ms, 10)
	dst = append(dst, '\n')
	return appendBody(dst, body)
}

// AppendMPUB appends the command that publishes several messages to one topic. nsqd answers OK.
// Every error is fatal to the connection, and does not say how many messages nsqd accepted before
// it.
func AppendMPUB(dst []byte, topic string, bodies [][]byte) []byte {
	dst = append(dst, "MPUB "...)
	dst = append(dst, topic...)
	dst = append(dst, '\n')
	dst = binary.BigEndian.AppendUint32(dst, uint32(batchLen(bodies)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(bodies)))
	for _, body := range bodies {
		dst = appendBody(dst, body)
	}
	return dst
}

// batchLen returns the length of MPUB's body: a count, then a length and a body for each message.
func batchLen(bodies [][]byte) int64 {
	n := int64(lenLen)
	for _, body := range bodies {
		n += lenLen + int64(len(body))
	}
	return n
}

// AppendItem appends a length and a body, as in PUB, DPUB and MPUB.
func AppendItem(dst, body []byte) []byte { return appendBody(dst, body) }

// ItemLen returns the number of bytes that AppendItem appends.
func ItemLen(body []byte) int { return lenLen + len(body) }

// AppendItems appends the command that publishes n messages to one topic: a PUB for one, an MPUB
// for several. items holds the messages, as appended by [AppendItem].
func AppendItems(dst []byte, topic string, n int, items []byte) []byte {
	if n > 1 {
		dst = append(dst, 'M')
	}
	dst = append(dst, "PUB "...)
	dst = append(dst, topic...)
	dst = append(dst, '\n')
	if n > 1 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(lenLen+len(items)))
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return append(dst, items...)
}

// AppendDeferredItem appends a DPUB of one item, for delivery after ms milliseconds.
func AppendDeferredItem(dst []byte, topic string, ms int64, item []byte) []byte {
	dst = append(dst, "DPUB "...)
	dst = append(dst, topic...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, ms, 10)
	dst = append(dst, '\n')
	return append(dst, item...)
}

func appendBody[B []byte | string](dst []byte, body B) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}
