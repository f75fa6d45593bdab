package wire

import (
	"encoding/binary"
	"strconv"
)

const lenLen = 4 // the length that stands before a body

// AppendIDENTIFY appends the command that negotiates the connection. body is a JSON object.
// nsqd answers with one too if body asks for feature_negotiation, and with OK otherwise.
func AppendIDENTIFY(dst, body []byte) []byte {
	dst = append(dst, "IDENTIFY\n"...)
	return appendBody(dst, body)
}

// AppendAUTH appends the command that presents a secret. nsqd answers with a JSON object; every error is fatal to the connection.
func AppendAUTH(dst []byte, secret string) []byte {
	dst = append(dst, "AUTH\n"...)
	return appendBody(dst, secret)
}

// AppendPUB appends the command that publishes one message. nsqd answers OK; every error is fatal to the connection.
func AppendPUB(dst []byte, topic string, body []byte) []byte {
	dst = append(dst, "PUB "...)
	dst = append(dst, topic...)
	dst = append(dst, '\n')
	return appendBody(dst, body)
}

// AppendDPUB appends the command that publishes one message, to be delivered after ms milliseconds. Above nsqd's -max-req-timeout
// (1 h by default) nsqd does not clamp, as it does for REQ. nsqd answers OK; every error is fatal to the connection.
func AppendDPUB(dst []byte, topic string, ms int64, body []byte) []byte {
	dst = append(dst, "DPUB "...)
	dst = append(dst, topic...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, ms, 10)
	dst = append(dst, '\n')
	return appendBody(dst, body)
}

// AppendMPUB appends the command that publishes several messages to one topic. nsqd answers OK; every error is fatal to
// the connection, and leaves open how many messages nsqd took before it.
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

// batchLen is the length of MPUB's body: a count, then each message after its length.
func batchLen(bodies [][]byte) int64 {
	n := int64(lenLen)
	for _, body := range bodies {
		n += lenLen + int64(len(body))
	}
	return n
}

// AppendItem appends a message as PUB, DPUB and MPUB carry it: behind its length.
func AppendItem(dst, body []byte) []byte { return appendBody(dst, body) }

// ItemLen is how many bytes AppendItem appends.
func ItemLen(body []byte) int { return lenLen + len(body) }

// AppendItems appends the command that publishes n messages to one topic, which items holds as [AppendItem] has appended them: a PUB, or
// an MPUB if there are several.
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

// AppendDeferredItem is AppendItems for one message that is to be delivered after ms milliseconds: a DPUB.
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
