package wire

import (
	"encoding/binary"
	"math"
)

// FrameType says what a frame carries.
type FrameType int32

// The types of frames that nsqd sends.
const (
	FrameResponse FrameType = 0 // the answer to a command, or a heartbeat
	FrameError    FrameType = 1 // see ProtocolError
	FrameMessage  FrameType = 2 // see DecodeMessage
)

const (
	// HeaderLen is the length of a frame's header in bytes: 4 of size, then 4 of type. The size counts the type.
	HeaderLen = 8

	// MessageHeaderLen is the length in bytes of what stands before a message's body: 8 of timestamp, 2 of attempts, 16 of id.
	MessageHeaderLen = 26

	// MaxResponse is the most data that a response or an error frame may carry, in bytes.
	MaxResponse = 64 << 10
)

const (
	sizeLen = 4 // the part of the header that the size does not count
	typeLen = 4 // the part that it does

	responseSize = typeLen + MaxResponse // the largest size of a response or an error

	// The size is an int32 for nsqd. Bounding it so lets a frame's length be an int everywhere.
	maxBody = math.MaxInt32 - HeaderLen - MessageHeaderLen
)

// NextFrame finds the first frame of buf, in place. max is the largest body of a message in bytes: data of a message is at
// most MessageHeaderLen + max long, data of other frames at most MaxResponse.
//
// If n > 0, the frame is complete: n is its whole length, and data aliases buf, with no capacity to append over what follows.
// If n is 0 and err is nil, more has to be read: need, above len(buf), is how many bytes the frame takes in all as far as
// that is known, which is 4 until its size can be read. A caller may size its buffer by need, since it is bounded by max.
//
// The error is a *FrameSizeError or a *FrameTypeError, and comes with the first byte that decides it: a size that no frame may have
// fails with the fourth byte of buf, one that the frame's type may not have with the eighth. The connection has no next frame then.
func NextFrame(buf []byte, max int) (typ FrameType, data []byte, n, need int, err error) {
	if len(buf) < HeaderLen {
		need, err = peek(buf, max)
		return 0, nil, 0, need, err
	}
	size := int64(binary.BigEndian.Uint32(buf))
	typ = FrameType(binary.BigEndian.Uint32(buf[sizeLen:]))
	limit := int64(responseSize)
	if typ == FrameMessage {
		limit = messageSize(max)
	}
	if size < typeLen || size > limit || uint32(typ) > uint32(FrameMessage) {
		return 0, nil, 0, 0, refuse(uint32(size), typ, limit, max)
	}
	n = sizeLen + int(size)
	if n > len(buf) {
		return 0, nil, 0, n, nil
	}
	return typ, buf[HeaderLen:n:n], n, 0, nil
}

// peek judges a frame of which less than the header is there.
func peek(buf []byte, body int) (need int, err error) {
	if len(buf) < sizeLen {
		return sizeLen, nil
	}
	size := binary.BigEndian.Uint32(buf)
	if err := checkSize(size, body); err != nil {
		return 0, err
	}
	return sizeLen + int(size), nil
}

// refuse says why NextFrame did not accept a header. It asks first what peek would have asked, so that the error does not depend
// on how the bytes arrived.
func refuse(size uint32, typ FrameType, limit int64, body int) error {
	if err := checkSize(size, body); err != nil {
		return err
	}
	if uint32(typ) > uint32(FrameMessage) {
		return &FrameTypeError{Type: typ}
	}
	return newFrameSizeError(size, limit)
}

// checkSize holds a size against what the most generous type allows.
func checkSize(size uint32, body int) error {
	limit := max(responseSize, messageSize(body))
	if size < typeLen || int64(size) > limit {
		return newFrameSizeError(size, limit)
	}
	return nil
}

// messageSize is the largest size of a message frame.
func messageSize(body int) int64 {
	return typeLen + MessageHeaderLen + int64(min(body, maxBody))
}
