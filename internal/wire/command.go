package wire

import "strconv"

// Commands without a body; the others are in publish.go. No command checks its arguments: ids come
// from DecodeMessage, names have passed CheckTopic or CheckChannel, and delays CheckDelay.

// AppendFIN appends the command that finishes a message. nsqd answers only with an error.
func AppendFIN(dst []byte, id *ID) []byte {
	dst = append(dst, "FIN 0123456789abcdef\n"...) // one capacity check; the id replaces the digits
	copy(dst[len(dst)-IDLen-1:], id[:])
	return dst
}

// AppendREQ appends the command that requeues a message for delivery after ms milliseconds. nsqd
// clamps ms to its -max-req-timeout (1 h by default); a negative ms is fatal to the connection.
// nsqd answers only with an error.
func AppendREQ(dst []byte, id *ID, ms int64) []byte {
	dst = append(dst, "REQ 0123456789abcdef "...)
	copy(dst[len(dst)-IDLen-1:], id[:])
	dst = strconv.AppendInt(dst, ms, 10)
	return append(dst, '\n')
}

// AppendTOUCH appends the command that restarts the timeout of a message. nsqd answers only with an
// error.
func AppendTOUCH(dst []byte, id *ID) []byte {
	dst = append(dst, "TOUCH 0123456789abcdef\n"...)
	copy(dst[len(dst)-IDLen-1:], id[:])
	return dst
}

// AppendRDY appends the command that lets nsqd send while fewer than n messages are in flight. An n
// above the max_rdy_count of IDENTIFY's answer, or below 0, is fatal to the connection. nsqd does
// not answer.
func AppendRDY(dst []byte, n int) []byte {
	dst = append(dst, "RDY "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\n')
}

// AppendNOP appends the command that answers a heartbeat.
func AppendNOP(dst []byte) []byte {
	return append(dst, "NOP\n"...)
}

// AppendCLS appends the command that ends a subscription. nsqd answers CloseWait. A second CLS is
// fatal to the connection.
func AppendCLS(dst []byte) []byte {
	return append(dst, "CLS\n"...)
}

// AppendSUB appends the command that subscribes the connection to a channel of a topic. nsqd
// answers OK.
func AppendSUB(dst []byte, topic, channel string) []byte {
	dst = append(dst, "SUB "...)
	dst = append(dst, topic...)
	dst = append(dst, ' ')
	dst = append(dst, channel...)
	return append(dst, '\n')
}
